"""Page times with 1,000 use cases, beside MLflow's own search of as many registered models and an almost empty page.

    ./gatehouse bench pages [--usecases 1000] [--rounds 40]

Ours: server time of each page for a person who sees everything, through the whole of Django (middleware, permission filter,
queries, template), in process. Peer: `registered-models/search` of 100 of as many models, answered by the MLflow server that runs
beside it, over one kept connection. Limit: the sign-in page, which reads nothing. The three are asked in turn, so that a noisy
neighbour hits them alike. Everything happens in a scratch database that is dropped afterwards; the models stay in MLflow.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_PROCESS", "manage")
SCRATCH = "bench_pages"


def scratch_database() -> Callable[[], None]:
    """Make an empty database beside the one in DATABASE_URL and point there; returns what drops it again."""
    import psycopg

    url = urlsplit(os.environ["DATABASE_URL"])
    home = urlunsplit(url)
    with psycopg.connect(home, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {SCRATCH} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {SCRATCH}")
    os.environ["DATABASE_URL"] = urlunsplit(url._replace(path=f"/{SCRATCH}"))

    def drop() -> None:
        with psycopg.connect(home, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {SCRATCH} WITH (FORCE)")

    return drop


def seed(count: int) -> tuple[Any, str]:
    """`count` use cases with three KPIs of twelve measured weeks and a frozen baseline each; returns (reader, a slug)."""
    from apps.accounts import services as accounts
    from apps.core.actor import Actor
    from apps.core.clock import now
    from apps.kpis import services as kpis
    from apps.kpis.models import Kpi, Measurement
    from apps.usecases.models import Requirements, UseCase

    system = Actor.system("bench")
    reader = accounts.create_user(actor=system, email="bench@example.org", full_name="Bench Reader", password="bench bench bench")
    for role, function in (("auditor", ""), ("approver", "risk"), ("ml_engineer", "")):
        accounts.assign_role(actor=system, user=reader, role=role, function=function)
    cases = UseCase.objects.bulk_create(
        UseCase(slug=f"case-{i}", name=f"Use case {i}", problem="To be solved.", owner=reader, created_by=reader, risk_tier="limited")
        for i in range(count)
    )
    Requirements.objects.bulk_create(Requirements(usecase=c, latency_p99_ms=100, projected_rps=10) for c in cases)
    defined = Kpi.objects.bulk_create(
        Kpi(
            usecase=c, slug=f"kpi-{k}", name=f"KPI {k}", dimension="business", unit="USD", direction="lower", aggregation="mean", target=80, floor=100, owner=reader,
            primary=k == 0,
        )
        for c in cases
        for k in range(3)
    )  # fmt: skip
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    rows = (
        Measurement(
            kpi=k, period_start=today - timedelta(weeks=w + 1), period_end=today - timedelta(weeks=w), value=100.0 - w % 7, n=200, variance=900.0,
            external_id=f"w{w}", version_label="model/1" if w < 6 else "",
        )
        for k in defined
        for w in range(12)
    )  # fmt: skip
    Measurement.objects.bulk_create(rows, batch_size=5000)
    for kpi in defined[:3]:
        kpis.freeze_baseline(
            actor=system, kpi_id=kpi.id, period_start=today - timedelta(weeks=12), period_end=today - timedelta(weeks=6), note="bench"
        )
    return reader, cases[0].slug


def mlflow_models(count: int) -> Any:
    """A client of the MLflow server, with at least `count` registered models in it."""
    import httpx

    client = httpx.Client(base_url=f"{os.environ['GATEHOUSE_MLFLOW_URL']}/api/2.0/mlflow/", trust_env=False, timeout=60)
    for i in range(count):
        answer = client.post("registered-models/create", json={"name": f"bench-{i:05d}"})
        if answer.status_code == 400 and "RESOURCE_ALREADY_EXISTS" in answer.text:
            continue
        answer.raise_for_status()
    return client


def main() -> None:
    """Seed, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--usecases", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    os.environ["GATEHOUSE_ALLOWED_HOSTS"] = "testserver"
    drop = scratch_database()
    try:
        measure(options.usecases, options.rounds)
    finally:
        from django.db import connections

        connections.close_all()
        drop()


def measure(count: int, rounds: int) -> None:
    """Ask every page in turn, `rounds` times after a warm-up, and print medians, 95th percentiles and ratios to the peer."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection, transaction
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    call_command("migrate", verbosity=0)
    with transaction.atomic():
        reader, slug = seed(count)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    peer = mlflow_models(count)
    client = Client()
    client.force_login(reader, backend="django.contrib.auth.backends.ModelBackend")
    pages = {
        "portfolio": "/portfolio/",
        "use case": f"/usecases/{slug}/",
        "inbox": "/inbox/",
        "endpoints": "/endpoints/",
        "models": "/models/",
        "trail": "/trail/",
        "use cases by REST, 50": "/api/v1/usecases/",
    }
    asks: dict[str, Callable[[], Any]] = {
        "peer: MLflow search of 100 models": lambda: peer.get("registered-models/search", params={"max_results": 100}).raise_for_status(),
        "limit: sign-in page": lambda: Client().get("/sign-in/"),
    }
    queries = {}
    for name, path in pages.items():

        def ask(path: str = path) -> None:
            answer = client.get(path)
            if answer.status_code != 200:
                raise SystemExit(f"{path} answered {answer.status_code}")

        ask()
        with CaptureQueriesContext(connection) as seen:
            ask()
        queries[name] = len(seen)
        asks[name] = ask
    times: dict[str, list[float]] = {name: [] for name in asks}
    for turn in range(rounds + 3):
        for name, ask in asks.items():
            began = time.perf_counter()
            ask()
            if turn >= 3:
                times[name].append((time.perf_counter() - began) * 1000)
    base = statistics.median(times["peer: MLflow search of 100 models"])
    print(f"{count:,} use cases, {3 * count:,} KPIs, {36 * count:,} measurements; {rounds} rounds, milliseconds")
    print(f"{'':36} {'median':>8} {'p95':>8} {'/ peer':>8} {'queries':>8}")
    for name, values in times.items():
        median, p95 = statistics.median(values), sorted(values)[int(0.95 * (len(values) - 1))]
        print(f"{name:36} {median:8.1f} {p95:8.1f} {median / base:8.2f} {queries.get(name, ''):>8}")


if __name__ == "__main__":
    main()
