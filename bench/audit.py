"""Audited writes per second with 16 writers, as ratios in one run; then the sealer's lag and the verifier's speed.

    DATABASE_URL=<owner's URL> .venv/bin/python bench/audit.py [--writers 16] [--seconds 5] [--rounds 3]

One write: a transaction that changes one row (each writer its own).

    none    the change alone
    chain   the change and an event in a naive global hash chain: each waits for the one before it
    ours    the change and `audit.record`, with the sealer running beside it

The three are measured in turn, round after round, so that a noisy neighbour hits them alike; medians are printed. Each writer
is a process of its own. Processor time (writer and its PostgreSQL backend) says what a write costs also on a busy machine, where
writes per second do not. Everything happens in a scratch database that is dropped afterwards.
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
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_SECRET_KEY", "bench")
MODES = ("none", "chain", "ours")
TABLES = """
CREATE TABLE bench_item (id int PRIMARY KEY, tier text NOT NULL, changes int NOT NULL DEFAULT 0) WITH (fillfactor = 50);
CREATE TABLE bench_chain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload text NOT NULL, hash bytea NOT NULL);
INSERT INTO bench_item SELECT g, 'low' FROM generate_series(0, 999) g;
"""
# More events like those of the writers, so that the verifier has something to do.
MORE = """
INSERT INTO audit_event (id, payload)
SELECT made.id, replace(like_this.payload, like_this.id::text, made.id::text)
FROM (SELECT id, payload FROM audit_event ORDER BY id LIMIT 1) like_this,
     LATERAL (SELECT (lpad(to_hex(1700000000000 + g), 12, '0') || '7' || substr(md5(g::text), 1, 3) || '8' || substr(md5(g::text), 4, 15))::uuid
              AS id FROM generate_series(1, %s) g) made
"""


def worker(mode: str, number: int, seconds: float) -> None:
    """Write as fast as possible; prints how often."""
    import django

    django.setup()
    from django.db import connection, transaction

    from apps.audit.services import record
    from apps.core.actor import Actor

    actor = Actor(kind="user", id="user:01900000-0000-7000-8000-000000000001", label="Anna Winter", user_id="1", request_id="0" * 32)
    usecase = "01900000-0000-7000-8000-0000000000aa"
    connection.ensure_connection()
    # All start together: ready, then wait for the word.
    print("ready", flush=True)
    sys.stdin.readline()
    cpu = processor_time(connection)
    until, done = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE bench_item SET tier = %s, changes = changes + 1 WHERE id = %s", ["high", number])
            before, after = {"tier": "low", "changes": done}, {"tier": "high", "changes": done + 1}
            if mode == "ours":
                record(
                    "audit.trail.exported", actor=actor, obj_type="usecase", obj_id=usecase, obj_label="Early detection",
                    usecase_id=usecase, before=before, after=after, reason="bench",
                )  # fmt: skip
            elif mode == "chain":
                payload = json.dumps({"actor": actor.id, "object": usecase, "before": before, "after": after, "reason": "bench"})
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


def measure(mode: str, writers: int, seconds: float) -> tuple[float, float]:
    """Writes per second of all writers together, and processor time per write in microseconds."""
    command = [sys.executable, __file__, "--worker", mode, "--seconds", str(seconds), "--number"]
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
    parser.add_argument("--events", type=int, default=200_000, help="how many more for the verifier (200,000)")
    parser.add_argument("--worker", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.number, options.seconds)
        return

    import psycopg

    owner = os.environ.get("GATEHOUSE_OWNER_DATABASE_URL") or os.environ["DATABASE_URL"]
    name = f"bench_audit_{os.getpid()}"
    os.environ["DATABASE_URL"] = urlunsplit(urlsplit(owner)._replace(path=f"/{name}"))
    with psycopg.connect(owner, autocommit=True) as conn, tempfile.TemporaryDirectory() as folder:
        settings = {s: conn.execute(f"SHOW {s}").fetchone()[0] for s in ("server_version", "fsync", "synchronous_commit")}  # type: ignore[index]
        conn.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
        try:
            run(options, Path(folder), settings)
        finally:
            conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]


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
    sealer = subprocess.Popen([sys.executable, str(ROOT / "manage.py"), "seal_trail"], stderr=subprocess.DEVNULL)
    lags: list[float] = []
    try:
        rates: dict[str, list[float]] = {mode: [] for mode in MODES}
        costs: dict[str, list[float]] = {mode: [] for mode in MODES}
        for _ in range(options.rounds):
            for mode in MODES:
                rate, cost = measure(mode, options.writers, options.seconds)
                rates[mode].append(rate)
                costs[mode].append(cost)
                if mode == "ours":
                    ended = time.perf_counter()
                    while seal_state().waiting:
                        time.sleep(0.01)
                    lags.append(time.perf_counter() - ended)
        with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
            conn.execute(MORE, [options.events])
        while seal_state().waiting:
            time.sleep(0.1)
    finally:
        sealer.terminate()
        sealer.wait()
    medians = {mode: statistics.median(values) for mode, values in rates.items()}
    where = ", ".join(f"{k} {v}" for k, v in settings.items())
    print(f"{options.writers} writers, {options.rounds} rounds of {options.seconds:g} s, {os.cpu_count()} cores, {where}")
    for mode in MODES:
        rounds = ", ".join(f"{v:.0f}" for v in rates[mode])
        print(f"  {mode:6} {medians[mode]:8.0f} writes/s, {statistics.median(costs[mode]):6.0f} us of processor time each   (rounds: {rounds})")
    print(f"  ours / none   {medians['ours'] / medians['none']:.2f}")
    print(f"  ours / chain  {medians['ours'] / medians['chain']:.2f}")
    print(f"  all sealed after the last write: {', '.join(f'{lag:.2f}' for lag in lags)} s")
    verify(folder / "witness" / "latest")


def verify(checkpoint: Path) -> None:
    """Time the offline verifier over what was written, on one core, next to what its hashing alone takes."""
    from apps.audit.models import Event

    count = Event.objects.count()
    payload = Event.objects.values_list("payload", flat=True)[0].encode()
    started = time.perf_counter()
    for _ in range(20_000):
        hashlib.sha256(b"\x01" + hashlib.sha256(b"\x00" + payload).digest()).digest()
    hashing = (time.perf_counter() - started) / 20_000 * count
    program = (
        "import resource, sys; from verifier.__main__ import main; "
        f"code = main(['--database-url', {os.environ['DATABASE_URL']!r}, '--checkpoint', {str(checkpoint)!r}]); "
        "used = resource.getrusage(resource.RUSAGE_SELF); print(code, used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    took = time.perf_counter() - started
    code, used, memory = done.stdout.splitlines()[-1].split()
    print(f"verifier, exit code {code}: {count} events in {took:.1f} s ({count / took:.0f}/s; {count / float(used):.0f}/s of its CPU time)")
    print(f"  SHA-256 alone {hashing / float(used):.0%} of that CPU time; peak memory {int(memory) / 1024:.0f} MB")


if __name__ == "__main__":
    main()
