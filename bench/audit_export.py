"""Exported events per second of processor and wall time, next to reading the same rows alone; and the memory that it takes.

    DATABASE_URL=<owner's URL> .venv/bin/python bench/audit_export.py [--events 300000] [--rounds 3]

Each in turn, round after round; medians are printed:

    rows    the events read from the database in the order of their leaves, and nothing done with them
    csv     the export as a table
    jsonl   the export as lines, each event's hash compared with the sealed tree and its proof written beside it

Everything happens in a scratch database that is dropped afterwards. Wall time holds what PostgreSQL does; on a busy machine look at the ratios.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_SECRET_KEY", "bench")

from bench._scratch import scratch  # noqa: E402


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    with scratch(f"bench_export_{os.getpid()}") as url, tempfile.TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = url
        run(options, Path(folder))


def run(options: argparse.Namespace, folder: Path) -> None:
    """The measurements, in the scratch database."""
    import django

    django.setup()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from django.core.management import call_command
    from django.db import connection, transaction

    from apps.audit import downloads, rows
    from apps.audit.gateways.witness import FileWitness
    from apps.audit.models import Download, Event
    from apps.audit.seal import Sealer
    from apps.audit.services import record
    from apps.core.actor import Actor
    from bench.audit_trail import MORE

    call_command("migrate", "audit", verbosity=0)
    actor = Actor(kind="system", id="system:bench", label="bench", roles=frozenset({"system"}))
    usecase = "01900000-0000-7000-8000-0000000000aa"
    with transaction.atomic():
        record(
            "audit.trail.exported", actor=actor, obj_type="usecase", obj_id=usecase, obj_label="Early detection", usecase_id=usecase,
            before={"tier": "low", "changes": 1}, after={"tier": "high", "changes": 2}, reason="bench",
        )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(MORE, [options.events])
        cursor.execute("ANALYZE audit_event")
    sealer = Sealer(private_key=Ed25519PrivateKey.generate(), origin="bench", witnesses=[FileWitness(folder / "witness")], batch=5000)
    sealer.start()
    while sealer.seal():
        pass
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_leaf")
    count = Event.objects.count()
    made = {kind: downloads.request_download(actor=actor, kind=kind) for kind in ("csv", "jsonl")}
    figures: dict[str, list[tuple[float, float]]] = {"rows": [], "csv": [], "jsonl": []}
    # Once for the caches, and for what Python keeps: what grows after that would grow with the export.
    for kind in made:
        exhaust(downloads.content(actor, made[kind]))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(options.rounds):
        for kind, found in figures.items():
            began, cpu = time.perf_counter(), time.process_time()
            if kind == "rows":
                for _batch in rows.pages(actor, {}, after=-1, tree_size=made["csv"].tree_size or 0):
                    pass
            else:
                exhaust(downloads.content(actor, made[kind]))
            found.append((time.perf_counter() - began, time.process_time() - cpu))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    print(f"{count} events, {options.rounds} rounds, {os.cpu_count()} cores; {Download.objects.count()} exports")
    middle = {k: (statistics.median(w for w, _ in v), statistics.median(c for _, c in v)) for k, v in figures.items()}
    for kind, (wall, cpu) in middle.items():
        print(f"  {kind:6} {count / wall:9.0f} events/s, {count / cpu:9.0f} per second of its own processor time")
    print(f"  jsonl / rows  {middle['rows'][0] / middle['jsonl'][0]:.2f} of the speed of reading alone")
    print(f"  peak memory {memory / 1024:.0f} MB; grown in {2 * options.rounds} more exports: {grown / 1024:.1f} MB")


def exhaust(stream: object) -> None:
    """Read it all and keep nothing."""
    for _piece in stream:  # type: ignore[attr-defined]
        pass


if __name__ == "__main__":
    main()
