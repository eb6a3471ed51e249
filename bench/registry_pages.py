"""The registry's own list and search at growing sizes, and how PostgreSQL finds them.

    ./gatehouse bench registry_pages [--sizes 1000,10000,100000] [--rounds 30]

Seeds registered models with three versions each (a tenth of them used by a use case) in a scratch database that is dropped afterwards,
and measures, at each size: the list of 100 models with the permission filter (as an engineer sees it, and as a stakeholder of one use
case does), the same over REST with a token, the search box, and the page of models through the whole of Django. The sizes are asked within one run. At the largest size
the plan of each list is printed: a sequential scan over all models would show.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_PROCESS", "manage")


def median_ms(what: Callable[[], Any], rounds: int) -> float:
    what()
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        what()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


WORDS = ("renewal", "triage", "routing", "forecast", "fraud", "pricing", "churn", "demand")


def grow(total: int, first: int, usecase: Any) -> None:
    """Models `first` to `total`, each with three versions and tags; every tenth is used by the use case while there are at most 200.

    PostgreSQL copies a model and a version that Django has made: 100,000 models take it half a minute, Django half an hour.
    """
    from django.db import connection

    from apps.registry.models import ModelVersion, RegisteredModel
    from apps.usecases.models import UsedModel

    seed, _ = RegisteredModel.objects.get_or_create(name="seed")
    ModelVersion.objects.get_or_create(
        model=seed, version=1, defaults={"status": "ready", "artifact_digest": "sha256:" + "0" * 64, "metrics": {"recall": 0.5}}
    )

    def copy(table: str, more: str, **instead: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s AND is_generated = 'NEVER'", [table])
            names = [row[0] for row in cursor.fetchall()]
            taken = ", ".join(instead.get(n, f"t.{n}") for n in names)
            where = "t.name = 'seed'" if table == "registry_registeredmodel" else "t.artifact_digest = 'sha256:' || repeat('0', 64)"
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(names)}) SELECT {taken} FROM {table} t, generate_series({first}, {total - 1}) i{more} WHERE {where}"
            )

    words = "(ARRAY['" + "', '".join(WORDS) + "'])"
    # In order, as ids of a time are.
    model_id, version_id = (f"('01900000-0000-7000-8000-' || lpad(to_hex({n}), 12, '0'))::uuid" for n in ("i", "i * 4 + n"))
    copy(
        "registry_registeredmodel", "", id=model_id, name=f"{words}[i % 8 + 1] || '-' || i",
        description=f"{words}[(i + 3) % 8 + 1] || ' of team ' || i % 97", tags="jsonb_build_object('team', 't' || i % 97)",
    )  # fmt: skip
    copy(
        "registry_modelversion", ", generate_series(1, 3) n", id=version_id, model_id=model_id, version="n",
        artifact_digest="'sha256:' || md5(i || ':' || n) || md5(n || ':' || i)", run_id="md5(i::text)",
    )  # fmt: skip
    if first < 2_000:
        used = RegisteredModel.objects.exclude(name="seed").order_by("id")[first : min(total, 2_000) : 10]
        UsedModel.objects.bulk_create(UsedModel(usecase=usecase, model=m) for m in used)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--sizes", default="1000,10000,100000")
    options.add_argument("--rounds", type=int, default=30)
    given = options.parse_args()
    sizes = [int(s) for s in given.sizes.split(",")]
    from bench.pages import scratch_database

    drop = scratch_database()
    try:
        import django

        django.setup()
        run(sizes, given.rounds)
    finally:
        from django.db import connections

        connections.close_all()
        drop()


def run(sizes: list[int], rounds: int) -> None:
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from apps.accounts import services as accounts
    from apps.accounts.selectors import actor_from_user
    from apps.core.actor import Actor
    from apps.registry import selectors
    from apps.registry.selectors.search import search
    from apps.usecases import services as usecases
    from apps.usecases.models import UseCase

    call_command("migrate", verbosity=0)
    system = Actor.system("bench")

    def person(name: str, role: str) -> Any:
        user = accounts.create_user(actor=system, email=f"{name}@example.org", full_name=name, password="bench bench bench")
        accounts.assign_role(actor=system, user=user, role=role, function="")
        return user

    engineer, stakeholder = person("engineer", "ml_engineer"), person("stakeholder", "stakeholder")
    case = UseCase.objects.create(
        slug="case", name="Case", problem="To be solved.", owner=engineer, created_by=engineer, risk_tier="limited"
    )
    usecases.give_access(actor=actor_from_user(engineer), usecase_id=case.id, user=stakeholder, level="view")
    who = {"engineer": actor_from_user(engineer), "stakeholder": actor_from_user(stakeholder)}
    browser = Client()
    browser.force_login(engineer, backend="django.contrib.auth.backends.ModelBackend")
    host = {"headers": {"host": "localhost"}}
    scripts = {
        name: {
            "headers": {
                "host": "localhost",
                "authorization": f"Bearer {accounts.issue_token(actor=who[name], user=user, name='bench', scopes=['read'])[1]}",
            }
        }
        for name, user in {"engineer": engineer, "stakeholder": stakeholder}.items()
    }
    script = Client()
    table: dict[str, list[float]] = {}
    before = 0
    for size in sizes:
        grow(size, before, case)
        before = size
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        # Made before timing: what is measured is the reading.
        asks: dict[str, Callable[[], Any]] = {
            "list of 100, engineer": lambda: list(selectors.models(who["engineer"])[:100]),
            "list of 100, stakeholder": lambda: list(selectors.models(who["stakeholder"])[:100]),
            "REST list of 100, engineer": lambda: script.get("/api/v1/models/?page_size=100", **scripts["engineer"]),
            "REST list of 100, stakeholder": lambda: script.get("/api/v1/models/?page_size=100", **scripts["stakeholder"]),
            "search of two words": lambda: search(who["engineer"], "fraud t13"),
            "search of a name": lambda: search(who["engineer"], "triage-817"),
            "part of a name": lambda: list(selectors.models(who["engineer"], search="age-817")[:100]),
            "page of models": lambda: browser.get("/models/", **host),
        }
        assert all(len(asks[f"REST list of 100, {name}"]().json()["results"]) == 100 for name in scripts)
        assert browser.get("/models/", **host).status_code == 200 and len(asks["list of 100, engineer"]()) == 100
        for name, ask in asks.items():
            table.setdefault(name, []).append(median_ms(ask, rounds))
    print(f"{'median of ' + str(rounds) + ' rounds, ms':32}" + "".join(f"{s:>12,}" for s in sizes) + f"{'last : first':>15}")
    for name, row in table.items():
        print(f"{name:32}" + "".join(f"{v:12.2f}" for v in row) + f"{row[-1] / row[0]:14.2f}x")
    for name, actor in who.items():
        sql, values = selectors.models(actor)[:100].query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (COSTS OFF) " + sql, values)
            print(f"\nplan of the list, {name}, at {sizes[-1]:,} models:")
            print("\n".join("  " + line[0][:160] for line in cursor.fetchall()))


if __name__ == "__main__":
    main()
