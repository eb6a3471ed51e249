"""How long an auditor waits for a filtered page of the trail, at many events.

    ./gatehouse bench audit_explorer [--events 1000000] [--seconds 300] [--rounds 20]

Server time of the explorer's page for each filter, through the whole of Django (middleware, permission, query, template), in process;
beside it the sign-in page, which reads nothing. The filters are asked in turn, so that a noisy neighbour hits them alike. Events are of 60 actions by
200 people about 500 use cases, spread over three years; seeding ends at `--events` or after `--seconds`, whichever comes first. They have leaves, as the
page says which are sealed; the tree above them is left out. Everything happens in a scratch database that is dropped afterwards.
"""

import argparse
import os
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_SECRET_KEY", "bench")

from bench._scratch import scratch  # noqa: E402

AT_ONCE = 50_000
YEARS = 3
# An event's text from its number: `{0}` is the number, and the moment and id grow with it.
SEED = """
INSERT INTO audit_event (id, payload)
SELECT id, '{"action":"' || action || '","actor":{"id":"user:' || actor || '","kind":"user","label":"Person ' || actor || '","on_behalf_of":""},'
    || '"after":{"figure":' || g || ',"tier":"high"},"before":{"figure":' || g - 1 || ',"tier":"low"},"decision_id":null,"id":"' || id
    || '","object":{"id":"' || usecase || '","label":"Use case ' || g %% 500 || '","type":"usecase"},"occurred_at":"'
    || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '","reason":"' || reason || '","request_id":"' || md5(g::text)
    || '","usecase_id":"' || usecase || '","v":1}'
FROM (SELECT g, at, ('01900000-0000-7000-8000-' || lpad(to_hex(g %% 500), 12, '0')) AS usecase, g * 7919 %% 200 AS actor,
             (%(actions)s::text[])[1 + g * 104729 %% 60] AS action,
             CASE WHEN g %% 9973 = 0 THEN 'a rare word: marmalade' ELSE 'an ordinary change, asked for by the desk' END AS reason,
             (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(g::text), 1, 3) || '8'
              || substr(md5(g::text), 4, 15))::uuid AS id
      FROM (SELECT g, %(start)s::timestamptz + g * %(step)s::interval AS at FROM generate_series(%(low)s::bigint, %(high)s::bigint - 1) g) moments) made
"""


LEAVES = """
INSERT INTO audit_leaf (leaf_index, event_id, leaf_hash)
SELECT %(size)s + row_number() OVER (ORDER BY id) - 1, id, sha256('\\x00'::bytea || convert_to(payload, 'UTF8'))
FROM audit_event e WHERE NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.event_id = e.id)
"""
CHECKPOINT = """
INSERT INTO audit_checkpoint (tree_size, root, frontier, note, sealed_at, sealed_xid, sealed_event_id)
SELECT count(*), sha256(''), '', '', now(), pg_current_xact_id(), gen_random_uuid() FROM audit_leaf
"""


def main() -> None:
    """Seed, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=300.0, help="seed no longer than this")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()

    with scratch(f"bench_explorer_{os.getpid()}", template=os.environ.get("GATEHOUSE_TEST_TEMPLATE")) as url:
        os.environ["DATABASE_URL"] = url
        run(options)


def seed(events: int, seconds: float) -> int:
    """Write events until there are enough or the time is up; returns how many there are."""
    import psycopg

    from apps.audit import catalogue

    actions = sorted(catalogue.actions())[:60]
    start = datetime.now(tz=UTC) - timedelta(days=365 * YEARS)
    began, done = time.monotonic(), 0
    step = timedelta(days=365 * YEARS) / events
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as conn:
        while done < events and time.monotonic() - began < seconds:
            more = min(AT_ONCE, events - done)
            conn.execute(SEED, {"actions": actions, "start": start, "step": step, "low": done, "high": done + more})
            conn.execute(LEAVES, {"size": conn.execute("SELECT count(*) FROM audit_leaf").fetchone()[0]})  # type: ignore[index]
            done += more
        conn.execute(CHECKPOINT)
        conn.execute("VACUUM ANALYZE audit_event, audit_leaf")
    print(f"{done} events in {time.monotonic() - began:.0f} s")
    return done


def run(options: argparse.Namespace) -> None:
    """The measurements, in the scratch database."""
    import django

    django.setup()
    from django.conf import settings

    settings.ALLOWED_HOSTS = ["*"]
    from django.core.management import call_command
    from django.db import transaction
    from django.test import Client

    from apps.accounts import services as accounts
    from apps.audit import catalogue
    from apps.core.actor import Actor
    from apps.usecases.models import UseCase

    call_command("migrate", verbosity=0)
    with transaction.atomic():
        reader = accounts.create_user(
            actor=Actor.system("bench"), email="bench@example.org", full_name="Reader", password="bench bench bench"
        )
        accounts.assign_role(actor=Actor.system("bench"), user=reader, role="auditor", function="")
    UseCase.objects.bulk_create(
        UseCase(
            id=f"01900000-0000-7000-8000-{n:012x}",
            slug=f"case-{n}",
            name=f"Use case {n}",
            problem="x",
            owner=reader,
            created_by=reader,
            risk_tier="limited",
        )
        for n in range(500)
    )
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
    seed(options.events, options.seconds)
    client = Client()
    client.force_login(reader, backend="django.contrib.auth.backends.ModelBackend")
    now = datetime.now(tz=UTC)
    day = lambda days: f"{now - timedelta(days=days):%Y-%m-%d}"  # noqa: E731
    actions = sorted(catalogue.actions())
    asked: dict[str, dict[str, Any]] = {
        "no filter": {},
        "action": {"action": actions[7]},
        "a noun's actions": {"action": actions[7].rpartition(".")[0]},
        "actor's id": {"actor": "user:77"},
        "object": {"object": "01900000-0000-7000-8000-000000000021"},
        "use case": {"usecase": "case-33"},
        "a day a year ago": {"since": day(365), "until": day(365)},
        "actor and month": {"actor": "user:77", "since": day(400), "until": day(370)},
        "use case and action": {"usecase": "case-33", "action": actions[7]},
        "a frequent word": {"search": "ordinary"},
        "a rare word": {"search": "marmalade"},
        "a rare word of a month": {"search": "marmalade", "since": day(400), "until": day(370)},
    }
    times: dict[str, list[float]] = {name: [] for name in (*asked, "sign-in page")}
    for turn in range(options.rounds + 1):
        for name in times:
            path = "/trail/?" + urlencode(asked[name]) if name in asked else "/sign-in/"
            visitor = client if name in asked else Client()
            began = time.perf_counter()
            answer = visitor.get(path)
            took = time.perf_counter() - began
            if answer.status_code != 200:
                raise SystemExit(f"{path} answers {answer.status_code}")
            if turn:  # the first is for the caches
                times[name].append(took * 1000)
    for name, taken in times.items():
        print(f"  {name:24} p50 {statistics.median(taken):7.0f} ms   p95 {sorted(taken)[int(len(taken) * 0.95) - 1]:7.0f} ms")
    filtered = sorted(t for name, taken in times.items() if name in asked and "word" not in name for t in taken)
    print(f"  all filters but words    p50 {statistics.median(filtered):7.0f} ms   p95 {filtered[int(len(filtered) * 0.95) - 1]:7.0f} ms")


if __name__ == "__main__":
    main()
