"""How far the seal is behind, how fast the verifier is, and whether it raises a false alarm.

    DATABASE_URL=<owner's URL> .venv/bin/python bench/audit_trail.py [--events 1000000] [--rate 3000] [--seconds 20]

Three questions, in one scratch database that is dropped afterwards:

    lag       events are committed at a steady rate, in transactions of ten, while the `seal` process runs beside it; how long until each is
              under a signed checkpoint that others can see (looked at every 10 ms, so up to that much is added)
    verifier  the whole trail, from the database and from an export of it: events per second of its processor time and by the clock, next to
              what SHA-256 alone takes of that for the same texts, which no verifier can do without
    alarms    its exit code over all of them: texts with and without escapes, beyond ASCII, nested, with and without use case and decision
"""

import argparse
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_SECRET_KEY", "bench")

from bench._scratch import scratch  # noqa: E402

IN_ONE = 10
# More events like those that are there, in turn.
MORE = """
INSERT INTO audit_event (id, payload)
SELECT made.id, replace(like_this.payload, like_this.id::text, made.id::text)
FROM (SELECT id, payload, row_number() OVER (ORDER BY id) - 1 AS number, count(*) OVER () AS kinds
      FROM (SELECT id, payload FROM audit_event ORDER BY id LIMIT 20) first) like_this,
     LATERAL (SELECT (lpad(to_hex(1700000000000 + g), 12, '0') || '7' || substr(md5(g::text), 1, 3) || '8' || substr(md5(g::text), 4, 15))::uuid
              AS id FROM generate_series(1, %s) g WHERE g %% like_this.kinds = like_this.number) made
"""
ONE_BATCH = "INSERT INTO audit_event (id, payload) SELECT u, replace(%s, 'EVENT', u::text) FROM unnest(%s::uuid[]) u"


def kinds_of_events() -> None:
    """One event of each kind that a trail may hold."""
    from django.db import transaction

    from apps.audit.services import record
    from apps.core.actor import Actor

    anna = Actor(kind="user", id="user:01900000-0000-7000-8000-000000000001", label="Anna Winter", user_id="1", request_id="0" * 32)
    zoe = Actor(kind="token", id="token:7", label='Zoë "Zo" Müller', user_id="2", on_behalf_of="user:2", request_id="1" * 32)
    usecase, decision = "01900000-0000-7000-8000-0000000000aa", "01900000-0000-7000-8000-0000000000bb"
    # Most are ordinary.
    kinds: list[dict[str, Any]] = [
        {"usecase_id": usecase, "before": {"tier": "low", "changes": n}, "after": {"tier": "high", "changes": n + 1}, "reason": "bench"}
        for n in range(14)
    ]
    kinds += [
        {"usecase_id": usecase, "decision_id": decision, "after": {"figures": [1, 2.5, None], "nested": {"object": {"id": "x"}}}},
        {"usecase_id": usecase, "obj_label": "Früherkennung 🩺", "reason": "weil \u2028 es so ist"},
        {"before": {"x": "y" * 400}},
        {"reason": "two lines\nand a \\ backslash"},
        {"after": {"event": {"occurred_at": "2026-03-01T00:00:00.000000Z", "object": {"id": "a", "label": "", "type": "t"}, "reason": ""}}},
        {"obj_label": 'quoted "label"', "usecase_id": usecase},
    ]
    with transaction.atomic():
        for n, fields in enumerate(kinds):
            record(
                "audit.trail.exported", actor=zoe if n == len(kinds) - 1 else anna, **{"obj_type": "usecase", "obj_id": usecase, **fields}
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="for the verifier")
    parser.add_argument("--rate", type=int, default=3000, help="events per second for the sealer")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long")
    options = parser.parse_args()

    with scratch(f"bench_trail_{os.getpid()}") as url, tempfile.TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = url
        run(options, Path(folder))


def run(options: argparse.Namespace, folder: Path) -> None:
    """The measurements, in the scratch database."""
    import django
    import psycopg
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = folder / "seal.pem"
    key.touch(mode=0o600)
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = folder / "witness/seal-public-key.json"
    os.environ |= {
        "GATEHOUSE_SEAL_KEY": str(key), "GATEHOUSE_SEAL_PUBLIC_KEY": str(public), "GATEHOUSE_WITNESS_DIR": str(folder / "witness"),
    }  # fmt: skip
    django.setup()
    from django.core.management import call_command

    from apps.audit.models import Event
    from apps.audit.selectors import seal_state

    call_command("migrate", "audit", verbosity=0)
    kinds_of_events()
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
    sealer = subprocess.Popen([sys.executable, str(ROOT / "manage.py"), "seal_trail"], stderr=subprocess.DEVNULL)
    try:
        while seal_state().waiting:
            time.sleep(0.05)
        lag(options.rate, options.seconds)
        began = time.perf_counter()
        with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
            conn.execute(MORE, [max(options.events - Event.objects.count(), 0)])
        written = time.perf_counter()
        while seal_state().waiting:
            time.sleep(0.1)
        sealed = time.perf_counter()
    finally:
        sealer.terminate()
        sealer.wait()
    count = Event.objects.count()
    print(f"{count} events; the last {written - began:.0f} s of writing were sealed {sealed - written:.0f} s later")
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE audit_event, audit_leaf")
    hashing = seconds_of_hashing(count)
    witness = ["--checkpoint", str(folder / "witness/latest")]
    verify("database", count, hashing, ["--database-url", os.environ["DATABASE_URL"], *witness])
    bundle = folder / "trail.zip"
    export(bundle)
    verify("export", count, hashing, ["--bundle", str(bundle), *witness])


def lag(rate: int, seconds: float) -> None:
    """Commit at a steady rate, and say how long each event then waits for its checkpoint."""
    import uuid

    import psycopg

    from apps.audit.models import Event

    url = os.environ["DATABASE_URL"]
    first = Event.objects.order_by("id").first()
    if first is None:
        raise SystemExit("there is no event to write more of")
    text = first.payload.replace(str(first.id), "EVENT")
    seen: list[tuple[float, int]] = []
    committed: dict[str, float] = {}
    stop = threading.Event()

    def watch() -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            while not stop.is_set():
                row = conn.execute("SELECT max(tree_size) FROM audit_checkpoint").fetchone()
                if row and (not seen or row[0] > seen[-1][1]):
                    seen.append((time.monotonic(), row[0]))
                time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    transactions = int(rate * seconds / IN_ONE)
    with psycopg.connect(url, autocommit=True) as conn:
        began = time.monotonic()
        for n in range(transactions):
            ids = [uuid.uuid4() for _ in range(IN_ONE)]
            pause = began + n * IN_ONE / rate - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            conn.execute(ONE_BATCH, [text, ids], prepare=True)
            committed[str(ids[0])] = time.monotonic()
        took = time.monotonic() - began
        while conn.execute("SELECT count(*) FROM audit_leaf WHERE event_id = %s", [ids[-1]]).fetchone() == (0,):
            time.sleep(0.02)
        time.sleep(0.1)
        stop.set()
        watcher.join()
        # All ten of a transaction stand side by side, but which of them is last is for their ids to say.
        rows = conn.execute(
            "SELECT l.event_id::text, l.leaf_index FROM audit_leaf l WHERE l.event_id = ANY (%s::uuid[])", [list(committed)]
        ).fetchall()
    lags = []
    for event_id, leaf in rows:
        visible = next(at for at, size in seen if size >= leaf + IN_ONE or (size > leaf and at == seen[-1][0]))
        lags.append(visible - committed[event_id])
    cuts = statistics.quantiles(lags, n=100)
    print(
        f"lag at {transactions * IN_ONE / took:.0f} events/s ({rate} wanted) for {took:.0f} s: "
        f"p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, longest {max(lags):.2f} s"
    )


def seconds_of_hashing(count: int) -> float:
    """What the leaf and node hashes of so many events take, and nothing else."""
    from apps.audit.models import Event

    texts = [payload.encode() for payload in Event.objects.order_by("-id").values_list("payload", flat=True)[:20_000]]
    taken = []
    for _ in range(5):
        began = time.process_time()
        for text in texts:
            hashlib.sha256(b"\x01" + hashlib.sha256(b"\x00" + text).digest() + b"0" * 32).digest()
        taken.append(time.process_time() - began)
    return min(taken) / len(texts) * count


def export(target: Path) -> None:
    """The whole trail as a bundle."""
    from apps.audit.services import export as write
    from apps.core.actor import Actor

    with target.open("w+b") as handle:
        write(actor=Actor.system("bench"), target=handle)


def verify(what: str, count: int, hashing: float, arguments: list[str]) -> None:
    """Run the verifier once and print what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "verifier", *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    took = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"verifier, {what}: exit code {done.returncode}, {done.stdout.splitlines()[0] if done.stdout else done.stderr.strip()}")
    print(
        f"  {count / cpu:.0f} events/s of its processor time ({cpu:.1f} s), {count / took:.0f}/s by the clock; SHA-256 alone is {hashing / cpu:.0%}"
    )
    print(f"  peak memory {after.ru_maxrss / 1024:.0f} MB; false alarms: {0 if done.returncode == 0 else done.stdout}")


if __name__ == "__main__":
    main()
