"""Audited writes per second with 16 writers, the sealer running, as ratios in one run.

    DATABASE_URL=<owner's URL> .venv/bin/python bench/audit.py [--writers 16] [--seconds 5] [--rounds 3] [--without-peers]

One write: a transaction in which a model's row is saved (each writer its own), as the portal's services do.

    none      the change alone
    chain     the change and an event in a naive global hash chain: each waits for the one before it
    ours      the change and `audit.record`, with the sealer running beside it
    auditlog  the change under django-auditlog
    history   the change under django-simple-history

They are measured in turn, round after round, so that a noisy neighbour hits them alike; medians are printed. Each writer
is a process of its own. Processor time (writer and its PostgreSQL backend) says what a write costs also on a busy machine, where
writes per second do not. The peers are installed into a throw-away environment, in their newest release, beside the same Django. Everything
happens in scratch databases that are dropped afterwards. How fast the trail is sealed, verified and searched: `audit_trail.py`, `audit_explorer.py`.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_SECRET_KEY", "bench")

from bench._scratch import scratch  # noqa: E402

OURS = ("none", "chain", "ours")
PEERS = ("auditlog", "history")
TABLES = """
CREATE TABLE bench_item (id int PRIMARY KEY, tier text NOT NULL, changes int NOT NULL DEFAULT 0) WITH (fillfactor = 50);
CREATE TABLE bench_chain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload text NOT NULL, hash bytea NOT NULL);
INSERT INTO bench_item SELECT g, 'low' FROM generate_series(0, 999) g;
"""


def worker(mode: str, number: int, seconds: float) -> None:
    """Write as fast as possible; prints how often."""
    import django

    django.setup()
    from django.db import connection, models, transaction

    from apps.audit.services import record
    from apps.core.actor import Actor

    class Item(models.Model):
        id = models.IntegerField(primary_key=True)
        tier = models.TextField()
        changes = models.IntegerField()

        class Meta:
            app_label, db_table, managed = "audit", "bench_item", False

    actor = Actor(kind="user", id="user:01900000-0000-7000-8000-000000000001", label="Anna Winter", user_id="1", request_id="0" * 32)
    usecase = "01900000-0000-7000-8000-0000000000aa"
    item = Item.objects.get(id=number)
    # All start together: ready, then wait for the word.
    print("ready", flush=True)
    sys.stdin.readline()
    cpu = processor_time(connection)
    until, done = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        with transaction.atomic():
            before = {"tier": item.tier, "changes": item.changes}
            item.tier, item.changes = "high" if done % 2 else "low", done + 1
            item.save(update_fields=["tier", "changes"])
            after = {"tier": item.tier, "changes": item.changes}
            if mode == "ours":
                record(
                    "audit.trail.exported", actor=actor, obj_type="usecase", obj_id=usecase, obj_label="Early detection",
                    usecase_id=usecase, before=before, after=after, reason="bench",
                )  # fmt: skip
            elif mode == "chain":
                payload = json.dumps({"actor": actor.id, "object": usecase, "before": before, "after": after, "reason": "bench"})
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock(1)")
                    cursor.execute("SELECT hash FROM bench_chain ORDER BY id DESC LIMIT 1")
                    last = cursor.fetchone()
                    digest = hashlib.sha256((bytes(last[0]) if last else b"") + payload.encode()).digest()
                    cursor.execute("INSERT INTO bench_chain (payload, hash) VALUES (%s, %s)", [payload, digest])
        done += 1
    print(done, processor_time(connection) - cpu)


def processor_time(connection: Any) -> float:
    """Seconds of processor time this writer and its PostgreSQL backend have used; only its own when that runs elsewhere."""
    import psutil

    own = time.process_time()
    try:
        backend = psutil.Process(connection.connection.info.backend_pid).cpu_times()
    except psutil.Error:
        return own
    return own + backend.user + backend.system


def measure(mode: str, writers: int, seconds: float, peer_python: str) -> tuple[float, float]:
    """Writes per second of all writers together, and processor time per write in microseconds."""
    program = [peer_python, str(ROOT / "bench/audit_peer.py")] if mode in PEERS else [sys.executable, __file__]
    command = [*program, "--worker", mode, "--seconds", str(seconds), "--number"]
    processes = [subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for n in range(writers)]
    for process in processes:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise SystemExit("a writer did not start")
    for process in processes:
        if process.stdin:
            process.stdin.write("go\n")
            process.stdin.flush()
    results = [p.communicate()[0].split() for p in processes]
    total = sum(int(done) for done, _ in results)
    return total / seconds, sum(float(cpu) for _, cpu in results) / max(total, 1) * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-peers", action="store_true", help="leave out django-auditlog and django-simple-history")
    parser.add_argument("--worker", choices=OURS, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.number, options.seconds)
        return

    import psycopg

    owner = os.environ.get("GATEHOUSE_OWNER_DATABASE_URL") or os.environ["DATABASE_URL"]
    with psycopg.connect(owner) as conn:
        settings = {s: conn.execute(f"SHOW {s}").fetchone()[0] for s in ("server_version", "fsync", "synchronous_commit")}  # type: ignore[index]
    with (
        scratch(f"bench_audit_{os.getpid()}") as url,
        scratch(f"bench_audit_peer_{os.getpid()}") as peer_url,
        tempfile.TemporaryDirectory() as folder,
    ):
        os.environ["DATABASE_URL"], os.environ["PEER_DATABASE_URL"] = url, peer_url
        run(options, Path(folder), settings)


def peer_environment(folder: Path) -> tuple[str, list[str]]:
    """The Python of an environment with both peers in it and the portal's Django, and what was installed; nothing where they cannot be had."""
    from importlib.metadata import version

    python = folder / "peers/bin/python"
    uv = [sys.executable, "-m", "uv"]
    same = [f"django=={version('django')}", f"psycopg[binary]=={version('psycopg')}", f"psutil=={version('psutil')}"]
    try:
        subprocess.run(
            [*uv, "venv", "--quiet", "--python", sys.executable, str(folder / "peers")], check=True, capture_output=True, text=True
        )
        wanted = [*same, "django-auditlog", "django-simple-history"]
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *wanted], check=True, capture_output=True, text=True)
        listed = subprocess.run(
            [*uv, "pip", "freeze", "--python", str(python)], check=True, capture_output=True, text=True
        ).stdout.splitlines()
    except subprocess.CalledProcessError as error:
        print(f"the peers cannot be installed here and are left out: {error.stderr.strip()[-300:]}")
        return "", []
    for peer in PEERS:
        subprocess.run([str(python), str(ROOT / "bench/audit_peer.py"), "--prepare", peer], check=True)
    return str(python), [line for line in listed if line.startswith(("django-auditlog", "django-simple-history"))]


def run(options: argparse.Namespace, folder: Path, settings: dict[str, str]) -> None:
    """The measurements, in the scratch database."""
    import django
    import psycopg
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = folder / "seal.pem"
    key.touch(mode=0o600)
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    os.environ |= {
        "GATEHOUSE_SEAL_KEY": str(key), "GATEHOUSE_SEAL_PUBLIC_KEY": str(folder / "none"), "GATEHOUSE_WITNESS_DIR": str(folder / "witness"),
    }  # fmt: skip
    django.setup()
    from django.core.management import call_command

    from apps.audit.selectors import seal_state

    call_command("migrate", "audit", verbosity=0)
    with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
        conn.execute(TABLES)  # type: ignore[arg-type]
    peer_python, peers = ("", []) if options.without_peers else peer_environment(folder)
    modes = (*OURS, *PEERS) if peer_python else OURS
    load = os.getloadavg()[0]
    sealer = subprocess.Popen([sys.executable, str(ROOT / "manage.py"), "seal_trail"], stderr=subprocess.DEVNULL)
    lags: list[float] = []
    try:
        rates: dict[str, list[float]] = {mode: [] for mode in modes}
        costs: dict[str, list[float]] = {mode: [] for mode in modes}
        for _ in range(options.rounds):
            for mode in modes:
                rate, cost = measure(mode, options.writers, options.seconds, peer_python)
                rates[mode].append(rate)
                costs[mode].append(cost)
                if mode == "ours":
                    ended = time.perf_counter()
                    while seal_state().waiting:
                        time.sleep(0.01)
                    lags.append(time.perf_counter() - ended)
    finally:
        sealer.terminate()
        sealer.wait()
    medians = {mode: statistics.median(values) for mode, values in rates.items()}
    where = ", ".join(f"{k} {v}" for k, v in settings.items())
    print(
        f"{options.writers} writers, {options.rounds} rounds of {options.seconds:g} s, {os.cpu_count()} cores, {where}; {' '.join(peers)}"
    )
    print(f"load before the first round {load:.1f}")
    for mode in modes:
        rounds = ", ".join(f"{v:.0f}" for v in rates[mode])
        print(
            f"  {mode:8} {medians[mode]:8.0f} writes/s, {statistics.median(costs[mode]):6.0f} us of processor time each   (rounds: {rounds})"
        )
    for other in modes:
        if other != "ours":
            cost = statistics.median(costs[other]) / statistics.median(costs["ours"])
            print(f"  ours / {other:8}  {medians['ours'] / medians[other]:.2f} of its writes/s; by processor time {cost:.2f}")
    print(f"  all sealed after the last write: {', '.join(f'{lag:.2f}' for lag in lags)} s")


if __name__ == "__main__":
    main()
