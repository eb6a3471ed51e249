"""Proofs over REST hold against an implementation that is not ours to change."""

import base64

import pytest

from apps.audit.models import Event
from apps.audit.sealing import verify_consistency
from tests.audit.conftest import settle
from tests.audit.people import client, person
from verifier.checkpoint import parse, parse_keys
from verifier.merkle import leaf_hash, root_of_path


@pytest.fixture
def auditor(own_database):
    return client(person("auditor"))


def test_every_kind_of_place_in_a_large_tree_is_proved(auditor, sealer, happen, seal_key):
    events = happen(700)
    sealer.batch = 300
    settle(sealer)
    size = Event.objects.count()
    key = seal_key.public_key().public_bytes_raw()
    for number in (0, 1, 255, 256, 511, 512, 699):
        proof = auditor.get(f"/api/v1/audit/events/{events[number].id}/proof/").json()
        path = [base64.b64decode(step) for step in proof["path"]]
        root = root_of_path(leaf_hash(proof["payload"].encode()), proof["leaf_index"], proof["tree_size"], path)
        signed = parse(proof["checkpoint"], [key])
        assert proof["tree_size"] == size and proof["payload"] == events[number].payload
        assert root == signed.root == base64.b64decode(proof["root"])


def test_an_event_is_proved_under_an_older_checkpoint_that_covers_it(auditor, sealer, happen):
    settle(sealer)
    size = Event.objects.count()
    (first,) = happen(1)
    settle(sealer)
    (second,) = happen(1)
    settle(sealer)
    proof = auditor.get(f"/api/v1/audit/events/{first.id}/proof/", {"tree_size": size + 1})
    assert proof.json()["tree_size"] == size + 1
    assert auditor.get(f"/api/v1/audit/events/{second.id}/proof/", {"tree_size": size + 1}).status_code == 409
    assert auditor.get(f"/api/v1/audit/events/{second.id}/proof/", {"tree_size": 9999}).status_code == 404
    assert auditor.get(f"/api/v1/audit/events/{second.id}/proof/", {"tree_size": "x"}).status_code == 400


def test_any_two_checkpoints_are_connected(auditor, sealer, happen, seal_key):
    for count in (5, 300, 1):
        happen(count)
        settle(sealer)
    page = auditor.get("/api/v1/audit/checkpoints/").json()["results"]
    keys = parse_keys({"keys": [{"purpose": "seal", "public": base64.b64encode(seal_key.public_key().public_bytes_raw()).decode()}]})
    sizes = [c["tree_size"] for c in page]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) >= 3
    for old in page:
        for new in page:
            if old["tree_size"] > new["tree_size"]:
                continue
            proof = auditor.get("/api/v1/audit/checkpoints/consistency/", {"from": old["tree_size"], "to": new["tree_size"]}).json()
            first, second = parse(proof["from"], keys), parse(proof["to"], keys)
            path = [base64.b64decode(step) for step in proof["path"]]
            verify_consistency(old=first.size, old_root=first.root, new=second.size, new_root=second.root, path=path)


@pytest.mark.parametrize(
    ("query", "status"), [({}, 400), ({"from": 2, "to": 1}, 400), ({"from": 1, "to": 99999}, 404), ({"from": 0, "to": 1}, 400)]
)
def test_a_consistency_proof_needs_two_sizes_that_are_there(auditor, query, status):
    assert auditor.get("/api/v1/audit/checkpoints/consistency/", query).status_code == status


def test_a_forged_event_gets_no_proof(auditor, sealer, happen, attack):
    events = happen(3)
    settle(sealer)
    attack(f'UPDATE audit_event SET payload = replace(payload, \'"reason":""\', \'"reason":"forged"\') WHERE id = \'{events[1].id}\'')
    answer = auditor.get(f"/api/v1/audit/events/{events[1].id}/proof/")
    assert answer.status_code == 500 and answer.json()["code"] == "trail-damaged"
    assert auditor.get(f"/api/v1/audit/events/{events[2].id}/proof/").status_code == 200


def test_a_forged_subtree_gives_no_proof_and_the_verifier_believes_none(auditor, sealer, happen, attack, verify):
    events = happen(300)
    settle(sealer)
    attack("UPDATE audit_subtree SET root = decode(repeat('ab', 32), 'hex')")
    # The last event's path leads over the root of the first 256.
    answer = auditor.get(f"/api/v1/audit/events/{events[299].id}/proof/")
    assert answer.status_code == 500 and answer.json()["code"] == "trail-damaged"
    assert verify()[0] in (0, 8), "what it recomputes is as it was"
