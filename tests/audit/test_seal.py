"""The sealer misses nothing and seals nothing twice, whatever happens around it."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, connections, transaction

from apps.audit.gateways.witness import FileWitness, WitnessConflict
from apps.audit.models import Event, Leaf
from apps.audit.seal import Sealer, SealRefused
from apps.audit.selectors import seal_state
from apps.audit.services import record
from tests.audit.conftest import settle, url_of

ROOT = Path(__file__).resolve().parents[2]
INSERT = "INSERT INTO audit_event (id, payload) VALUES (%s, %s)"


def another(sealer: Sealer) -> Sealer:
    """A second process over the same database and witness."""
    return Sealer(private_key=sealer.private_key, origin=sealer.origin, witnesses=[FileWitness(w.folder) for w in sealer.witnesses])


def text_of(event_id: str) -> str:
    """A minimal event, as a writer outside Django would have to write it."""
    return json.dumps(
        {
            "v": 1, "id": event_id, "occurred_at": "2026-03-01T00:00:00.000000Z", "action": "audit.trail.exported", "request_id": "",
            "actor": {"kind": "system", "id": "system:x", "label": "x", "on_behalf_of": ""}, "usecase_id": None, "decision_id": None,
            "object": {"type": "trail", "id": "trail", "label": ""}, "before": None, "after": None, "reason": "",
        }, sort_keys=True, separators=(",", ":"),
    )  # fmt: skip


def test_events_get_consecutive_leaves_and_a_witnessed_checkpoint(sealer, happen, verify, witness_folder):
    events = happen(5)
    assert settle(sealer) == 5
    assert [str(leaf.event_id) for leaf in Leaf.objects.order_by("leaf_index")] == [str(e.id) for e in events]
    assert settle(sealer) == 0
    happen(2)
    assert settle(sealer) == 2
    assert json.loads((witness_folder / "checkpoints.jsonl").read_text().splitlines()[-1])["tree_size"] == 7
    assert seal_state().tree_size == 7 and seal_state().waiting == 0
    assert verify() == (0, verify()[1])
    assert "the whole trail" in verify()[1]


def test_batches_are_sealed_until_nothing_is_left(sealer, happen):
    happen(25)
    sealer.batch = 10
    assert settle(sealer) == 25
    assert list(Leaf.objects.order_by("leaf_index").values_list("leaf_index", flat=True)) == list(range(25))


def test_what_is_written_early_and_committed_late_is_not_missed(sealer, happen, own_database):
    early = "01900000-0000-7000-8000-000000000001"
    with psycopg.connect(url_of(own_database)) as slow:
        slow.execute(INSERT, [early, text_of(early)])
        happen(3)
        # The open transaction is older than all three, so none may be numbered before it has ended.
        assert sealer.seal() == 0
        assert seal_state().waiting == 3
        slow.commit()
    assert settle(sealer) == 4
    assert str(Leaf.objects.get(leaf_index=0).event_id) == early


def test_an_old_transaction_that_rolls_back_holds_nothing_up_for_ever(sealer, happen, own_database):
    with psycopg.connect(url_of(own_database)) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        happen(1)
        assert sealer.seal() == 0
        slow.rollback()
    assert settle(sealer) == 1


def test_eight_writers_out_of_order_and_two_sealers_miss_nothing_and_repeat_nothing(sealer, own_database, actor, verify):
    stop = threading.Event()
    failures: list[BaseException] = []

    def write(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for n in range(40):
                try:
                    with transaction.atomic():
                        for _ in range(chance.randint(1, 3)):
                            record("audit.trail.exported", actor=actor, obj_type="trail", obj_id=f"{seed}/{n}")
                            time.sleep(chance.random() * 0.004)
                        if chance.random() < 0.15:
                            raise ZeroDivisionError
                except ZeroDivisionError:
                    pass
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    def seal(one: Sealer) -> None:
        try:
            one.run(stop, interval_s=0.005)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    sealers = [threading.Thread(target=seal, args=[s]) for s in (sealer, another(sealer))]
    writers = [threading.Thread(target=write, args=[seed]) for seed in range(8)]
    for thread in [*sealers, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in sealers:
        thread.join()
    assert not failures
    settle(sealer)
    leaves = list(Leaf.objects.order_by("leaf_index").values_list("leaf_index", "event_id"))
    assert [index for index, _ in leaves] == list(range(len(leaves)))
    assert {event for _, event in leaves} == set(Event.objects.values_list("id", flat=True))
    assert len(leaves) > 200
    code, said = verify()
    assert code == 0, said


def test_a_sealer_that_is_killed_again_and_again_loses_and_repeats_nothing(
    sealer, happen, own_database, seal_key, witness_folder, verify, tmp_path
):
    key_file = tmp_path / "seal.pem"
    key_file.touch(mode=0o600)
    key_file.write_bytes(seal_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    environment = os.environ | {
        "DATABASE_URL": url_of(own_database),
        "GATEHOUSE_SEAL_KEY": str(key_file),
        "GATEHOUSE_SEAL_PUBLIC_KEY": str(tmp_path / "none.json"),
        "GATEHOUSE_WITNESS_DIR": str(witness_folder),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }
    chance = random.Random(7)
    for _ in range(4):
        before = seal_state().tree_size
        process = subprocess.Popen(
            [sys.executable, "manage.py", "seal_trail", "--interval", "0.001"],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        happen(20)
        deadline = time.monotonic() + 60
        # Kill it in the middle of its work: events go on arriving until it has sealed some of them.
        while seal_state().tree_size <= before and time.monotonic() < deadline:
            happen(3)
        happen(chance.randint(1, 12))
        process.send_signal(signal.SIGKILL)
        process.wait()
    sealer.start()
    deadline = time.monotonic() + 60
    # The killed process's last transaction may hold the lock for the moment PostgreSQL needs to notice.
    while seal_state().waiting and time.monotonic() < deadline:
        sealer.seal()
    assert Leaf.objects.count() == Event.objects.count()
    code, said = verify()
    assert code == 0, said


def test_a_sealer_that_is_told_to_stop_ends_by_itself(sealer, own_database, happen):
    stop = threading.Event()
    happen(2)
    worker = threading.Thread(target=lambda: (sealer.run(stop, interval_s=0.01), connections.close_all()))
    worker.start()
    deadline = time.monotonic() + 60
    while seal_state().tree_size < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    worker.join(timeout=20)
    assert not worker.is_alive()
    assert seal_state().tree_size == 2


def test_it_goes_on_after_the_database_cut_its_connection(sealer, happen, superuser_url):
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            sealer.run(stop, interval_s=0.01)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    happen(1)
    worker = threading.Thread(target=run)
    worker.start()
    try:
        for expected in (1, 2, 3):
            deadline = time.monotonic() + 60
            while seal_state().tree_size < expected and time.monotonic() < deadline:
                time.sleep(0.01)
            assert seal_state().tree_size == expected
            connection.close()
            with psycopg.connect(superuser_url, autocommit=True) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            happen(1)
    finally:
        stop.set()
        worker.join(timeout=30)
    assert not failures


def test_a_witness_that_was_away_gets_every_checkpoint_later(sealer, happen, witness_folder, tmp_path):
    happen(1)
    settle(sealer)
    witness_folder.rename(tmp_path / "away")
    witness_folder.write_text("the disk is gone")
    for _ in range(3):
        happen(1)
        settle(sealer)
    witness_folder.unlink()
    (tmp_path / "away").rename(witness_folder)
    settle(sealer)
    sizes = [json.loads(line)["tree_size"] for line in (witness_folder / "checkpoints.jsonl").read_text().splitlines()]
    assert sizes == [1, 2, 3, 4]


def test_a_line_cut_short_by_a_crash_does_not_swallow_the_next(sealer, happen, witness_folder):
    happen(1)
    settle(sealer)
    with (witness_folder / "checkpoints.jsonl").open("a") as handle:
        handle.write('{"tree_size": 2, "no')
    happen(1)
    settle(sealer)
    lines = (witness_folder / "checkpoints.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["tree_size"] == 2


def test_a_database_that_was_rolled_back_is_not_sealed_on(sealer, happen, attack):
    happen(3)
    settle(sealer)
    happen(2)
    settle(sealer)
    attack("DELETE FROM audit_checkpoint WHERE tree_size > 3", "DELETE FROM audit_leaf WHERE leaf_index >= 3")
    with pytest.raises(SealRefused, match="rolled back"):
        another(sealer).start()
    happen(1)
    with pytest.raises(SealRefused):
        sealer.seal()


def test_a_rewritten_checkpoint_is_not_built_upon(sealer, happen, attack):
    happen(3)
    settle(sealer)
    attack("UPDATE audit_checkpoint SET frontier = decode(repeat('00', 64), 'hex')")
    happen(1)
    with pytest.raises(SealRefused, match="tampered"):
        another(sealer).seal()


def test_a_trail_resealed_with_another_key_is_refused(sealer, happen, attack):
    happen(3)
    settle(sealer)
    with pytest.raises(WitnessConflict, match="does not know"):
        Sealer(private_key=Ed25519PrivateKey.generate(), origin=sealer.origin, witnesses=[FileWitness(sealer.witnesses[0].folder)]).start()


def test_a_retired_key_stays_known_when_it_is_listed(sealer, happen, witness_folder, verify):
    happen(3)
    settle(sealer)
    fresh = Sealer(
        private_key=Ed25519PrivateKey.generate(), keys=[sealer.private_key.public_key()], origin=sealer.origin,
        witnesses=[FileWitness(witness_folder)],
    )  # fmt: skip
    fresh.start()
    happen(2)
    assert settle(fresh) == 2
    assert len(json.loads((witness_folder / "seal-public-key.json").read_text())["keys"]) == 2
    assert verify()[0] == 0


def test_a_witness_never_takes_a_second_root_for_one_size_nor_goes_back(sealer, happen, witness_folder):
    from apps.audit.sealing import sign_checkpoint

    happen(4)
    settle(sealer)
    witness = sealer.witnesses[0]
    latest = (witness_folder / "latest").read_text()
    forged = {"origin": sealer.origin, "root": bytes(32), "sealed_at": "x", "private_key": sealer.private_key}
    with pytest.raises(WitnessConflict, match="another root"):
        witness.publish(sign_checkpoint(tree_size=4, **forged))
    witness.publish(sign_checkpoint(tree_size=3, **forged))
    assert (witness_folder / "latest").read_text() == latest


def test_after_a_restore_into_another_cluster_everything_is_sealed_once(sealer, happen, attack, verify):
    happen(3)
    settle(sealer)
    unsealed = happen(2)
    # Transaction ids of the cluster the dump was taken from, far ahead of this one's.
    attack(
        "UPDATE audit_checkpoint SET sealed_xid = '900000000000'",
        f"UPDATE audit_event SET xid = '900000000001' WHERE id = '{unsealed[1].id}'",
    )
    happen(2)
    restored = another(sealer)
    restored.start()
    assert settle(restored) == 4
    happen(3)
    assert settle(restored) == 3
    later = another(sealer)
    later.start()
    assert settle(later) == 0
    assert Leaf.objects.count() == Event.objects.count() == 10
    assert verify()[0] == 0


def test_the_command_seals_once_and_protects_its_key(own_database, happen, seal_key, witness_folder, settings, tmp_path, capsys, verify):
    key_file = tmp_path / "seal.pem"
    key_file.write_bytes(seal_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    settings.SEAL_KEY, settings.SEAL_PUBLIC_KEY, settings.WITNESS_DIR = str(key_file), str(tmp_path / "none"), witness_folder
    happen(3)
    key_file.chmod(0o644)
    with pytest.raises(CommandError, match="chmod 600"):
        call_command("seal_trail", "--once")
    key_file.chmod(0o600)
    deadline = time.monotonic() + 60
    while Leaf.objects.count() < 3 and time.monotonic() < deadline:
        call_command("seal_trail", "--once")
    # Transactions of other tests in the same server may hold some up for a round.
    assert sum(int(n) for n in re.findall(r"sealed (\d+) event", capsys.readouterr().out)) == 3
    assert verify()[0] == 0
    settings.SEAL_KEY = str(tmp_path / "missing.pem")
    with pytest.raises(CommandError, match="GATEHOUSE_SEAL_KEY"):
        call_command("seal_trail", "--once")


def test_the_sealer_needs_no_more_than_its_role(own_database, happen, environment_url, sealer):
    from urllib.parse import unquote, urlsplit

    happen(300)
    url = urlsplit(environment_url("GATEHOUSE_SEAL_DATABASE_URL"))
    saved = {k: connection.settings_dict[k] for k in ("USER", "PASSWORD")}
    connection.close()
    connection.settings_dict.update(USER=unquote(url.username or ""), PASSWORD=unquote(url.password or ""))
    try:
        limited = another(sealer)
        limited.start()
        assert settle(limited) == 300
    finally:
        connection.close()
        connection.settings_dict.update(saved)
