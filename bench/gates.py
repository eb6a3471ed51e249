"""What gates cost: the page of a large gate, evaluating forty checks, an inbox of a thousand gates.

    ./gatehouse bench gates [--checks 40] [--events 500] [--gates 1000] [--rounds 30]

Page: server time and queries of the gate's page through the whole of Django, for an approver, on an open gate with `--checks` checks that
cost nothing themselves, 20 answered items and `--events` events in the trail. Evaluating: what the portal adds to the sources' own time.
Inbox: every page of `--gates` open gates, walked by key. Limit: the sign-in page, which reads nothing. Asked in turn, so that a noisy
neighbour hits them alike. Everything happens in a scratch database that is dropped afterwards.
"""

import argparse
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_PROCESS", "manage")

from bench.pages import scratch_database  # noqa: E402

PASSWORD = "bench bench bench"


def seed(options: argparse.Namespace) -> tuple[Any, Any]:
    """An approver, and an open gate with everything; `--gates` more that wait for the same approver. Returns (approver, gate)."""
    import yaml

    from apps.accounts import services as accounts
    from apps.accounts.selectors import actor_from_user
    from apps.approvals import checks, services
    from apps.approvals.models import Gate
    from apps.audit import services as audit
    from apps.core.actor import Actor
    from apps.core.evidence import Check, passed
    from apps.core.ids import new_id
    from apps.usecases import services as usecases
    from apps.usecases.models import FunctionAccess, UseCase

    system = Actor.system("bench")

    def pure(number: int) -> Check:
        return Check(f"usecases.pure_{number}", f"Check {number}", lambda subject, parameters: passed("fine", source_digest=f"sha256:{number}"))

    offered = {**checks.all_checks(), **{f"usecases.pure_{n}": pure(n) for n in range(options.checks)}}
    checks.all_checks = lambda: offered
    people = {}
    for role, function in (("ml_engineer", ""), ("approver", "business")):
        people[role] = accounts.create_user(actor=system, email=f"{role}@example.org", full_name=f"Bench {role}", password=PASSWORD)
        accounts.assign_role(actor=system, user=people[role], role=role, function=function)
    engineer, approver = people["ml_engineer"], people["approver"]
    actor = actor_from_user(engineer)
    items = [{"item": f"item-{n}", "text": f"Item {n}.", "owner": "owner"} for n in range(20)]
    text = yaml.safe_dump(
        {
            "name": "bench", "version": 1, "gate": "proposal_poc", "tier": "any", "question": "May it?", "valid_days": 90, "due_days": 3,
            "quorum": {"business": 1}, "checks": [{"check": f"usecases.pure_{n}"} for n in range(options.checks)], "attestations": items,
        }
    )  # fmt: skip
    services.publish_policy(actor=system, text=text)
    usecase = usecases.create_usecase(actor=actor, name="Bench", problem="P.", risk_tier="high")
    gate = services.open_gate(actor=actor, usecase_id=usecase.id, to_stage="poc")
    for item in items:
        services.attest(actor=actor, gate_id=gate.id, item=item["item"], answer="yes", note="Yes.")
    gate = services.request_gate(actor=actor, gate_id=gate.id)
    for _ in range(options.events):
        audit.record("approvals.gate.signed", actor=system, obj_type="gate", obj_id=str(gate.id), obj_label="bench", usecase_id=str(usecase.id))
    cases = UseCase.objects.bulk_create(
        UseCase(slug=f"case-{n}", name=f"Case {n}", problem="P.", owner=engineer, created_by=engineer, risk_tier="limited")
        for n in range(options.gates - 1)
    )
    FunctionAccess.objects.bulk_create(FunctionAccess(usecase=c, function="business") for c in cases)
    fields = {f.name: getattr(gate, f.name) for f in Gate._meta.concrete_fields if f.name not in ("id", "usecase", "due_at")}
    Gate.objects.bulk_create(
        Gate(id=new_id(), usecase=c, due_at=gate.due_at + timedelta(minutes=n), **fields) for n, c in enumerate(cases)
    )
    return approver, gate


def walk(client: Any) -> int:
    """Every page of the inbox by its key; returns how many gates were seen."""
    seen, address = set(), "/inbox/"
    while address:
        text = client.get(address).content.decode()
        seen.update(re.findall(r'<a href="/gates/([0-9a-f-]{36})/">', text))
        more = re.search(r'href="(\?after=[^"]+)"', text)
        address = f"/inbox/{more[1]}" if more else ""
    return len(seen)


def measure(options: argparse.Namespace) -> None:
    """Seed, ask everything in turn after a warm-up, print medians, 95th percentiles and queries."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection, transaction
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from apps.approvals import documents
    from apps.approvals.models import Gate
    from apps.core.clock import now

    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    call_command("migrate", verbosity=0)
    with transaction.atomic():
        approver, made = seed(options)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    client = Client()
    client.force_login(approver, backend="django.contrib.auth.backends.ModelBackend")
    gate = Gate.objects.select_related("policy", "usecase", "model_version").prefetch_related("waivers").get(id=made.id)

    def page(path: str) -> Callable[[], None]:
        def ask() -> None:
            answer = client.get(path)
            if answer.status_code != 200:
                raise SystemExit(f"{path} answered {answer.status_code}")

        return ask

    asks: dict[str, Callable[[], Any]] = {
        "limit: sign-in page": lambda: Client().get("/sign-in/"),
        f"gate page, {options.checks} checks, {options.events} events": page(f"/gates/{made.id}/"),
        f"evaluating {options.checks} checks, beside their own time": lambda: documents.evaluate(gate, as_of=now()),
        f"inbox, first page of {options.gates:,}": page("/inbox/"),
        "REST, 50 of those that wait": page("/api/v1/gates/?waiting_on=me"),
    }
    queries = {}
    for name, ask in asks.items():
        ask()
        with CaptureQueriesContext(connection) as seen:
            ask()
        queries[name] = len(seen)
    times: dict[str, list[float]] = {name: [] for name in asks}
    for turn in range(options.rounds + 3):
        for name, ask in asks.items():
            began = time.perf_counter()
            ask()
            if turn >= 3:
                times[name].append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()
    count = walk(client)
    whole = time.perf_counter() - began
    print(f"{options.rounds} rounds, milliseconds")
    print(f"{'':52} {'median':>8} {'p95':>8} {'queries':>8}")
    for name, values in times.items():
        median, p95 = statistics.median(values), sorted(values)[int(0.95 * (len(values) - 1))]
        print(f"{name:52} {median:8.1f} {p95:8.1f} {queries[name]:>8}")
    print(f"walking the whole inbox by key: {count:,} gates in {whole:.2f} s")


def main() -> None:
    """Seed, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("checks", 40), ("events", 500), ("gates", 1000), ("rounds", 30)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    os.environ["GATEHOUSE_ALLOWED_HOSTS"] = "testserver"
    drop = scratch_database()
    try:
        measure(options)
    finally:
        from django.db import connections

        connections.close_all()
        drop()


if __name__ == "__main__":
    main()
