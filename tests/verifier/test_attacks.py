"""Every attack of the list is carried out as superuser; the verifier finds it, or says no more than it knows."""

from pathlib import Path

import pytest

from apps.audit.gateways.witness import FileWitness, WitnessConflict
from apps.audit.seal import Sealer, SealRefused
from tests.verifier.attacks import ATTACKS, FOUND, Attack, table
from tests.verifier.scene import Scene
from verifier.__main__ import main

DOCS = Path(__file__).resolve().parents[2] / "docs/reference/audit-trail.md"


@pytest.fixture
def scene(own_database, superuser_url, sealer, seal_key, happen, tmp_path, witness_folder):
    made = Scene(own_database, superuser_url, sealer, seal_key, happen, tmp_path / "scene", witness_folder)
    made.begin()
    yield made
    made.tidy()


def verified(scene, capsys, *arguments):
    code = main([*scene.subject, *arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.mark.parametrize("attack", ATTACKS, ids=[a.what for a in ATTACKS])
def test_an_attack_is_found_or_not_as_the_table_says(attack: Attack, scene, capsys):
    witnessed = ["--checkpoint", str(scene.witness / "latest")]
    assert verified(scene, capsys, *witnessed)[0] == 0
    assert verified(scene, capsys)[0] == 3
    attack.do(scene)
    answers = (verified(scene, capsys), verified(scene, capsys, *witnessed))
    assert tuple(code for code, _ in answers) == attack.codes, answers
    for code, said in answers:
        # What is not whole, and what is broken, is called verified nowhere; what is found is named.
        assert ("VERIFIED" in said) == (code in (0, 3)), said
        assert code in FOUND or "WITHOUT A WITNESS" in said or "NOTHING TO VERIFY" in said or "witnessed checkpoint" in said, said
    assert attack.says in answers[1][1]
    if attack.sealer_refuses:
        honest = Sealer(private_key=scene.seal_key, origin=scene.sealer.origin, witnesses=[FileWitness(scene.witness)])
        with pytest.raises((SealRefused, WitnessConflict)):
            honest.start()
            honest.seal()


def test_at_least_a_dozen_attacks_are_found_and_each_with_a_witness_but_those_that_no_log_can_know():
    found = [attack for attack in ATTACKS if attack.codes[1] in FOUND]
    assert len(found) >= 12
    assert [attack.what for attack in ATTACKS if attack not in found] == [
        "leave an event out of an export of a part",
        "change an event before it is sealed (about half a second)",
        "write an event of something that did not happen, as the application could",
    ]


def test_the_table_in_the_docs_is_this_list():
    assert "\n".join(table()) in DOCS.read_text(), "put there what `python -m tests.verifier.attacks` prints"
