"""The launcher's view of the signing keys: their ages, and what doctor says of them."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from celery_worker import rotation
from gatehouse_cli import doctor, keyring, main
from gatehouse_cli.paths import DataDir
from gatehouse_cli.say import Refusal

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path / "portal")
    made.keys.mkdir(parents=True, mode=0o700)
    keyring.ensure_keys(made.keys)
    return made


def change(data: DataDir, **entry: str) -> None:
    """The order key's entry, as a rotation or a long time would leave it."""
    file = keyring.public_keys_path(data, "order")
    document = json.loads(file.read_text())
    document["keys"][0] |= entry
    file.write_text(json.dumps(document))


def test_new_keys_say_when_they_were_made(data: DataDir) -> None:
    found = keyring.ages(data.keys)
    assert [a.purpose for a in found] == ["order", "seal", "agent"]
    for age in found:
        assert age.created_at and datetime.now(UTC) - age.created_at < timedelta(minutes=5) and age.accepted_until is None


def test_doctor_shows_their_ages_and_notes_an_old_order_key(data: DataDir) -> None:
    assert {(f.subject, f.state) for f in doctor.look_at_keys(data)} == {("order key", "ok"), ("seal key", "ok"), ("agent key", "ok")}
    change(data, created_at=(datetime.now(UTC) - timedelta(days=400)).isoformat())
    (old,) = [f for f in doctor.look_at_keys(data) if f.state != "ok"]
    assert (old.subject, old.state, old.remedy) == ("order key", "note", "./gatehouse keys rotate") and "400 days old" in old.found


@pytest.mark.parametrize(("hours", "says"), [(1, "accepted until"), (-1, "refused since")])
def test_doctor_says_of_a_rotated_key_how_long_it_is_accepted(data: DataDir, hours: int, says: str) -> None:
    change(data, accepted_until=(datetime.now(UTC) + timedelta(hours=hours)).isoformat())
    (found,) = [f for f in doctor.look_at_keys(data) if f.subject == "order key"]
    assert "rotated out" in found.found and says in found.found


def test_they_are_listed_for_people_and_for_scripts(data: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.keys(["list", "--data", str(data.root)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main.keys(["list", "--json", "--data", str(data.root)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {r["purpose"] for r in rows} == {"order", "seal", "agent"} and all(len(r["key_id"]) == 16 for r in rows)


def test_a_folder_without_keys_has_none(tmp_path: Path) -> None:
    assert keyring.ages(tmp_path) == []


@pytest.mark.parametrize("purpose", keyring.KEY_PURPOSES)
def test_a_private_key_that_its_public_file_does_not_list_is_refused(data: DataDir, tmp_path: Path, purpose: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    keyring.ensure_keys(other)
    private, public = keyring.private_key_path(data, purpose), keyring.public_keys_path(data, purpose)
    before = public.read_bytes()
    private.write_bytes((other / private.name).read_bytes())
    new_id = json.loads((other / public.name).read_text())["keys"][0]["key_id"]
    with pytest.raises(Refusal, match=rf"{public} does not list key {new_id} of {private}\..*both files"):
        keyring.ensure_keys(data.keys)
    assert public.read_bytes() == before, "what is there is not replaced"
    public.write_bytes((other / public.name).read_bytes())
    keyring.ensure_keys(data.keys)


@pytest.mark.parametrize("text", ["{", "[]", '{"keys": [1]}', "{}"])
def test_a_public_file_that_is_none_is_refused_with_the_remedy(data: DataDir, text: str) -> None:
    public = keyring.public_keys_path(data, "agent")
    public.write_text(text)
    with pytest.raises(Refusal, match=rf"{public} is no file of public keys.*both files"):
        keyring.ensure_keys(data.keys)


def test_a_key_that_was_rotated_in_is_listed_beside_the_one_before(data: DataDir) -> None:
    key = keyring.private_key_path(data, "order")
    day = timedelta(days=1)
    begun = rotation.begin(key=key, public=keyring.public_keys_path(data, "order"), purpose="order", overlap=day, moment=datetime.now(UTC))
    keyring.ensure_keys(data.keys)
    rotation.finish(key)
    keyring.ensure_keys(data.keys)
    assert [a.key_id for a in keyring.ages(data.keys) if a.purpose == "order"] == [begun.new, begun.old]


def test_the_command_that_makes_keys_says_what_is_wrong(data: DataDir) -> None:
    keyring.private_key_path(data, "agent").unlink()
    command = [sys.executable, "-m", "gatehouse_cli.keyring", str(data.keys)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "agent-public.json does not list key" in done.stderr and "Traceback" not in done.stderr
