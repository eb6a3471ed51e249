"""What somebody with every right in the database can do to the trail, and that the verifier says so."""

import base64
import json
import shutil
import threading
import time

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connections

from apps.audit.gateways.witness import FileWitness
from apps.audit.models import Event, Leaf
from apps.audit.seal import Sealer
from apps.audit.sealing import Frontier, leaf_hash, public_key_document, sign_checkpoint
from tests.audit.conftest import settle, url_of
from verifier.__main__ import main


@pytest.fixture
def trail(sealer, happen):
    """Twelve events under three checkpoints, the last two witnessed."""
    events = []
    for _ in range(3):
        events += happen(4, reason="as it was")
        settle(sealer)
    return events


def edit(event, old='"reason":"as it was"', new='"reason":"as we like"'):
    return f"UPDATE audit_event SET payload = replace(payload, '{old}', '{new}') WHERE id = '{event.id}'"


def test_an_untouched_trail_is_whole(trail, verify):
    code, said = verify()
    assert code == 0
    assert "VERIFIED: the whole trail. All 12 events" in said and "witnessed checkpoint over 12 events" in said


def test_every_older_checkpoint_is_as_good_a_witness(trail, verify, witness_folder, tmp_path):
    for line in (witness_folder / "checkpoints.jsonl").read_text().splitlines():
        entry = json.loads(line)
        path = witness_folder / f"kept-{entry['tree_size']}"
        path.write_text(entry["note"])
        code, said = verify(checkpoint=path)
        assert code == 0 and f"witnessed checkpoint over {entry['tree_size']} events" in said


TAMPERINGS = {
    "an edited text": (lambda t: [edit(t[5])], "is not the text that was sealed"),
    "an edited text with its stored hash corrected": (
        lambda t: [
            edit(t[5]),
            "UPDATE audit_leaf l SET leaf_hash = sha256('\\x00'::bytea || convert_to(e.payload, 'UTF8')) FROM audit_event e "
            "WHERE e.id = l.event_id",
        ],
        "do not have the root",
    ),
    "an added space": (lambda t: [f"UPDATE audit_event SET payload = payload || ' ' WHERE id = '{t[0].id}'"], "not the text"),
    "a deleted event": (lambda t: [f"DELETE FROM audit_event WHERE id = '{t[6].id}'"], "has been deleted"),
    "a deleted event and its leaf": (
        lambda t: [f"DELETE FROM audit_event WHERE id = '{t[6].id}'", "DELETE FROM audit_leaf WHERE leaf_index = 6"],
        "leaf 6 is missing",
    ),
    "a deletion with the later leaves moved up": (
        lambda t: [
            f"DELETE FROM audit_event WHERE id = '{t[6].id}'",
            "DELETE FROM audit_leaf WHERE leaf_index = 6",
            *(f"UPDATE audit_leaf SET leaf_index = {n - 1} WHERE leaf_index = {n}" for n in range(7, 12)),
        ],
        "do not have the root",
    ),
    "two events in each other's place": (
        lambda t: [
            "UPDATE audit_leaf SET leaf_index = 99 WHERE leaf_index = 2",
            "UPDATE audit_leaf SET leaf_index = 2 WHERE leaf_index = 3",
            "UPDATE audit_leaf SET leaf_index = 3 WHERE leaf_index = 99",
        ],
        "do not have the root",
    ),
    "two texts swapped": (
        lambda t: [
            f"UPDATE audit_event a SET payload = b.payload FROM audit_event b WHERE (a.id, b.id) IN (('{t[1].id}', '{t[2].id}'), "
            f"('{t[2].id}', '{t[1].id}'))"
        ],
        "not the text",
    ),
    "an event inserted among the sealed": (
        lambda t: [
            *(f"UPDATE audit_leaf SET leaf_index = {n + 1} WHERE leaf_index = {n}" for n in range(11, 4, -1)),
            "INSERT INTO audit_event (id, payload) SELECT '01900000-0000-7000-8000-00000000dead', replace(payload, id::text, "
            f"'01900000-0000-7000-8000-00000000dead') FROM audit_event WHERE id = '{t[5].id}'",
            "INSERT INTO audit_leaf SELECT 5, id, sha256('\\x00'::bytea || convert_to(payload, 'UTF8')) FROM audit_event "
            "WHERE id = '01900000-0000-7000-8000-00000000dead'",
        ],
        "do not have the root",
    ),
    "a tail cut off": (
        lambda t: [
            f"DELETE FROM audit_event WHERE id >= '{t[8].id}'",
            "DELETE FROM audit_leaf WHERE leaf_index >= 8",
            "DELETE FROM audit_checkpoint WHERE tree_size > 8",
        ],
        "the tail is gone",
    ),
    "everything gone": (
        lambda t: ["DELETE FROM audit_event", "DELETE FROM audit_leaf", "DELETE FROM audit_subtree", "DELETE FROM audit_checkpoint"],
        "the tail is gone",
    ),
    "the checkpoints rolled back": (lambda t: ["DELETE FROM audit_checkpoint WHERE tree_size > 4"], "is gone from the database"),
    "a checkpoint with another root": (
        lambda t: ["UPDATE audit_checkpoint SET root = decode(repeat('ab', 32), 'hex') WHERE tree_size = 8"],
        "is not what was signed",
    ),
    "a checkpoint with another text": (
        lambda t: ["UPDATE audit_checkpoint SET note = replace(note, 'sealed_at 2', 'sealed_at 1') WHERE tree_size = 8"],
        "is not valid",
    ),
    "a copy of another checkpoint": (
        lambda t: ["UPDATE audit_checkpoint SET note = (SELECT note FROM audit_checkpoint WHERE tree_size = 4) WHERE tree_size = 8"],
        "is not what was signed",
    ),
    "query columns that are no longer generated": (
        lambda t: [
            "ALTER TABLE audit_event ALTER COLUMN actor_label DROP EXPRESSION",
            f"UPDATE audit_event SET actor_label = 'somebody else' WHERE id = '{t[4].id}'",
        ],
        "do not say what its text says",
    ),
    "a time that is no longer generated": (
        lambda t: [
            "ALTER TABLE audit_event ALTER COLUMN occurred_at DROP EXPRESSION",
            f"UPDATE audit_event SET occurred_at = occurred_at - interval '1 microsecond' WHERE id = '{t[4].id}'",
        ],
        "do not say what its text says",
    ),
    "a use case that is no longer generated": (
        lambda t: [
            "ALTER TABLE audit_event ALTER COLUMN usecase_id DROP EXPRESSION",
            f"UPDATE audit_event SET usecase_id = '' WHERE id = '{t[4].id}'",
        ],
        "do not say what its text says",
    ),
    "an event under another id": (
        lambda t: [
            f"UPDATE audit_event SET id = '01900000-0000-7000-8000-00000000dead' WHERE id = '{t[4].id}'",
            "UPDATE audit_leaf SET event_id = '01900000-0000-7000-8000-00000000dead' WHERE leaf_index = 4",
        ],
        "do not say what its text says",
    ),
    "a view in the place of the table": (
        lambda t: [
            "ALTER TABLE audit_event RENAME TO hidden",
            "CREATE VIEW audit_event AS SELECT * FROM hidden",
            "GRANT SELECT ON audit_event TO PUBLIC",
        ],
        "is not a table",
    ),
}


# What is left is a true beginning of the trail, or a true empty one.
ONLY_WITH_A_WITNESS = {"a tail cut off", "everything gone"}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(name, trail, attack_any, verify, own_database, witness_folder):
    statements, expected = TAMPERINGS[name]
    code, said = verify()
    assert code == 0, said
    attack_any(*statements(trail))
    code, said = verify()
    assert code == 1, said
    assert expected in said and "VERIFIED" not in said
    key = str(witness_folder / "seal-public-key.json")
    assert main(["--database-url", url_of(own_database), "--public-key", key, "--wait", "0"]) == (3 if name in ONLY_WITH_A_WITNESS else 1)


@pytest.fixture
def attack_any(superuser_url):
    """As superuser, triggers out of the way and left so."""

    def run(*statements):
        with psycopg.connect(superuser_url) as conn:
            for table in ("audit_event", "audit_leaf", "audit_subtree", "audit_checkpoint"):
                conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            for statement in statements:
                conn.execute(statement)

    return run


def reseal(own_database, key, origin, folder):
    """Throw the seal away and make another one over what the table holds now, as a thief of `key` would."""
    forged = Sealer(private_key=key, origin=origin, witnesses=[FileWitness(folder)])
    forged.start()
    settle(forged)


def test_a_tail_rewritten_and_sealed_again_with_the_stolen_key_contradicts_the_witness(
    trail, attack_any, own_database, sealer, seal_key, verify, tmp_path
):
    attack_any(
        edit(trail[10]), "DELETE FROM audit_leaf", "DELETE FROM audit_subtree", "DELETE FROM audit_checkpoint",
    )  # fmt: skip
    reseal(own_database, seal_key, sealer.origin, tmp_path / "thief")
    code, said = verify()
    assert code == 1 and "are not those of the witnessed checkpoint" in said
    # Without the witness the forgery is perfect: this is what a witness is for.
    code, said = verify(checkpoint=tmp_path / "thief" / "latest")
    assert code == 0


def test_a_trail_sealed_again_with_another_key_is_not_signed_by_a_known_one(trail, attack_any, own_database, sealer, verify, tmp_path):
    attack_any("DELETE FROM audit_leaf", "DELETE FROM audit_subtree", "DELETE FROM audit_checkpoint")
    reseal(own_database, Ed25519PrivateKey.generate(), sealer.origin, tmp_path / "thief")
    code, said = verify()
    assert code == 1 and "no known key signed it" in said


def test_a_replaced_checkpoint_or_key_file_is_found(trail, verify, witness_folder, tmp_path):
    thief = Ed25519PrivateKey.generate()
    latest = witness_folder / "latest"
    genuine = latest.read_text()
    size, root = Leaf.objects.count(), base64.b64decode(genuine.split("\n")[2])
    latest.write_text(sign_checkpoint(origin="tests/audit", tree_size=size, root=root, sealed_at="x", private_key=thief).note)
    code, said = verify()
    assert code == 1 and "no known key signed it" in said
    latest.write_text(genuine)
    key_file = witness_folder / "seal-public-key.json"
    own_copy = tmp_path / "own-copy.json"
    shutil.copy(key_file, own_copy)
    key_file.write_text(json.dumps(public_key_document([thief.public_key()])))
    assert verify()[0] == 1
    assert verify("--public-key", str(own_copy))[0] == 0


def test_a_checkpoint_of_another_trail_is_no_witness_of_this_one(trail, verify, witness_folder, seal_key):
    genuine = (witness_folder / "latest").read_text()
    root = base64.b64decode(genuine.split("\n")[2])
    other = witness_folder / "other"
    other.write_text(sign_checkpoint(origin="other/audit", tree_size=12, root=root, sealed_at="x", private_key=seal_key).note)
    code, said = verify(checkpoint=other)
    assert code == 1 and "belongs to another trail" in said


def test_a_witness_ahead_of_the_database_is_not_believed_away(trail, verify, witness_folder, seal_key):
    frontier = Frontier()
    for event in [*trail, trail[0]]:
        frontier.append(leaf_hash(event.payload))
    ahead = witness_folder / "ahead"
    note = sign_checkpoint(origin="tests/audit", tree_size=13, root=frontier.root(), sealed_at="x", private_key=seal_key).note
    ahead.write_text(note)
    code, said = verify(checkpoint=ahead)
    assert code == 1 and "the tail is gone" in said


def test_without_a_witness_it_says_so(trail, own_database, witness_folder, capsys):
    code = main(["--database-url", url_of(own_database), "--public-key", str(witness_folder / "seal-public-key.json"), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == report["exit_code"] == 3
    assert report["witnessed"] is False and report["verified"] is True and "WITHOUT A WITNESS" in report["proved"]


def test_events_that_stay_unsealed_make_it_not_whole(trail, happen, verify):
    happen(2)
    code, said = verify(wait="0.6")
    assert code == 8 and "2 events in the database are not sealed" in said and "VERIFIED" not in said


def test_it_waits_for_a_sealer_that_is_at_work(trail, happen, verify, sealer):
    def later() -> None:
        time.sleep(0.8)
        settle(sealer)
        connections.close_all()

    happen(2)
    worker = threading.Thread(target=later)
    worker.start()
    code, said = verify(wait="30")
    worker.join()
    assert code == 0 and "All 14 events" in said


def test_disabled_triggers_are_told(trail, superuser_url, verify):
    with psycopg.connect(superuser_url) as conn:
        conn.execute("ALTER TABLE audit_event DISABLE TRIGGER audit_event_append_only")
    code, said = verify()
    assert code == 0 and "make audit_event append-only are not all in force" in said


def test_a_large_trail_with_many_checkpoints_is_whole_and_one_changed_letter_in_it_is_found(sealer, happen, verify, attack_any):
    sealer.batch = 97
    events = happen(1000)
    settle(sealer)
    assert verify()[0] == 0
    attack_any(f"UPDATE audit_event SET payload = replace(payload, '\"number\":500', '\"number\":501') WHERE id = '{events[500].id}'")
    code, said = verify()
    assert code == 1 and "leaf 500" in said and said.count("wrong:") == 1


def test_an_event_stored_outside_ascii_is_verified(sealer, happen, verify):
    happen(1, obj_label="Früh\u2028erkennung 🩺", reason='quote " backslash \\ tab \t nul \x00')
    settle(sealer)
    assert verify()[0] == 0
    assert Event.objects.get().object_label == "Früh\u2028erkennung 🩺"


def test_a_database_that_does_not_answer_is_not_verified(witness_folder, trail, capsys):
    url = "postgresql://nobody:hunter2@127.0.0.1:1/none"
    assert main(["--database-url", url, "--checkpoint", str(witness_folder / "latest")]) == 9
    captured = capsys.readouterr()
    assert "hunter2" not in captured.out + captured.err and "Nothing was verified" in captured.err
