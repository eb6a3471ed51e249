"""What the verifier says of a live database: see `attacks.py` for what somebody with every right in it can do."""

import base64
import json
import shutil
import threading
import time

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connections

from apps.audit.models import Event, Leaf
from apps.audit.sealing import Frontier, leaf_hash, public_key_document, sign_checkpoint
from tests.audit.conftest import settle, url_of
from verifier.__main__ import main
from verifier.database import says_the_same


@pytest.fixture
def trail(sealer, happen):
    """Twelve events under three checkpoints, all witnessed."""
    events = []
    for _ in range(3):
        events += happen(4, reason="as it was")
        settle(sealer)
    return events


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


def test_a_large_trail_with_many_checkpoints_is_whole_and_one_changed_letter_in_it_is_found(sealer, happen, verify, attack):
    sealer.batch = 97
    events = happen(1000)
    settle(sealer)
    assert verify()[0] == 0
    attack(f"UPDATE audit_event SET payload = replace(payload, '\"number\":500', '\"number\":501') WHERE id = '{events[500].id}'")
    code, said = verify()
    assert code == 1 and "leaf 500" in said and said.count("wrong:") == 1


def test_an_event_stored_outside_ascii_is_verified(sealer, happen, verify):
    happen(1, obj_label="Früh\u2028erkennung 🩺", reason='quote " backslash \\ tab \t nul \x00')
    settle(sealer)
    assert verify()[0] == 0
    assert Event.objects.get().object_label == "Früh\u2028erkennung 🩺"


def test_an_empty_trail_is_nothing_to_verify(sealer, own_database, witness_folder, capsys):
    code = main(["--database-url", url_of(own_database), "--public-key", str(witness_folder / "seal-public-key.json"), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == report["exit_code"] == 10 and report["verified"] is False and "NOTHING TO VERIFY" in report["proved"]


WHO = {"id": "i", "kind": "k", "label": "l", "on_behalf_of": ""}
TOLD = {
    "v": 1, "id": "x", "occurred_at": "t", "action": "a", "actor": WHO, "object": {"id": "o", "label": "p", "type": "q"}, "usecase_id": None,
    "decision_id": None, "request_id": "r", "before": None, "after": None, "reason": "why",
}  # fmt: skip


def parts_of(event):
    """The parts of an event's text that the columns stand in, as the database would put them together."""
    actor, about = event["actor"], event["object"]
    quoted = {key: f'"{event[key]}"' if event[key] is not None else "null" for key in ("decision_id", "usecase_id")}
    prefix = f'{{"action":"{event["action"]}","actor":{{"id":"{actor["id"]}","kind":"{actor["kind"]}","label":"{actor["label"]}","on_behalf_of":"'
    middle = (
        f',"decision_id":{quoted["decision_id"]},"id":"{event["id"]}","object":{{"id":"{about["id"]}","label":"{about["label"]}","type":"'
    )
    suffix = f'","request_id":"{event["request_id"]}","usecase_id":{quoted["usecase_id"]},"v":1}}'
    parts = (
        f'{prefix}{actor["on_behalf_of"]}"}},"after":',
        f'{middle}{about["type"]}"}},"occurred_at":"{event["occurred_at"]}","reason":"',
        suffix,
    )
    return [part.encode() for part in parts]


def text_of(event):
    return json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"usecase_id": "u"},
        {"decision_id": "d"},
        {"reason": "Früh"},
        {"reason": "two\nlines"},
        {"after": {"actor": WHO}},
        {"before": {"n": [1]}},
    ],
)
def test_an_ordinary_event_is_told_at_a_glance(change):
    event = TOLD | change
    assert says_the_same(text_of(event), *parts_of(event))


@pytest.mark.parametrize(
    ("event", "columns"),
    [
        # Columns that say something else.
        (TOLD, {"action": "b"}),
        (TOLD, {"actor": WHO | {"label": "m"}}),
        (TOLD, {"occurred_at": "u"}),
        (TOLD, {"usecase_id": "null"}),
        (TOLD | {"usecase_id": "null"}, {"usecase_id": None}),
        (TOLD | {"decision_id": "d"}, {"decision_id": None}),
        # What the text tells of another event.
        (
            TOLD | {"after": TOLD | {"id": "y", "object": {"id": "z", "label": "", "type": ""}}},
            {"id": "y", "object": {"id": "z", "label": "", "type": ""}},
        ),
        # An escaped text is not the value that it stands for.
        (TOLD | {"request_id": "r\n"}, {"request_id": "r\\n"}),
        # A value that reaches beyond its place, as the text has the same words further on.
        (
            TOLD | {"after": {"actor": WHO, "after": 1}},
            {"actor": WHO | {"on_behalf_of": '"},"after":{"actor":{"id":"i","kind":"k","label":"l","on_behalf_of":"'}},
        ),
        (TOLD | {"reason": 'x"'}, {}),
    ],
)
def test_what_is_not_beyond_doubt_is_read(event, columns):
    assert not says_the_same(text_of(event), *parts_of(event | columns))


def test_a_database_that_does_not_answer_is_not_verified(witness_folder, trail, capsys):
    url = "postgresql://nobody:hunter2@127.0.0.1:1/none"
    assert main(["--database-url", url, "--checkpoint", str(witness_folder / "latest")]) == 9
    captured = capsys.readouterr()
    assert "hunter2" not in captured.out + captured.err and "Nothing was verified" in captured.err
