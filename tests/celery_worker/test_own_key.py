"""A host rotates the key of its reports: the agent takes the new one up as it runs, and the hand-over travels with what it says."""

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from celery_worker import orders, rotation
from celery_worker.agent import own_key
from celery_worker.agent.own_key import OwnKey, RotationRefused, rotate
from celery_worker.agent.reports import Reporter
from celery_worker.handover import read_handover

DAY = timedelta(hours=24)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    made = orders.generate_private_key(tmp_path / "agent.pem")
    (tmp_path / "agent-public.json").write_text(json.dumps({"keys": [orders.public_entry(made.public_key(), purpose="agent")]}))
    return tmp_path / "agent.pem"


def test_a_running_agent_signs_with_the_new_key_and_carries_the_old_ones_word(key: Path) -> None:
    signer = OwnKey(key)
    before = signer.sign({"n": 1})
    known = {before["key_id"]: orders.load_private_key(key).public_key()}
    done = rotate(key, overlap=DAY)
    after = signer.sign({"n": 2})
    assert "handovers" not in before and (before["key_id"], after["key_id"]) == (done.old, done.new)
    (carried,) = after["handovers"]
    found = read_handover(carried, keys=known, now=datetime.now(UTC), key_purpose="agent")
    assert orders.verify(after, keys={found.new: found.public}) == {"n": 2}


def test_the_hand_over_travels_no_more_when_the_overlap_is_over(key: Path) -> None:
    rotate(key, overlap=timedelta(microseconds=1))
    assert "handovers" not in OwnKey(key).sign({"n": 1})


def test_a_key_that_was_put_here_by_hand_carries_nothing_of_those_before_it(key: Path) -> None:
    signer = OwnKey(key)
    rotate(key, overlap=DAY)
    assert len(signer.sign({})["handovers"]) == 1
    key.unlink()
    made = orders.generate_private_key(key)
    said = signer.sign({})
    assert said["key_id"] == orders.key_id(made.public_key()) and "handovers" not in said
    done = rotate(key, overlap=DAY)
    (carried,) = signer.sign({})["handovers"]
    assert carried["key_id"] == done.old == said["key_id"]


def test_what_waits_on_the_disk_keeps_the_hand_over_that_its_key_needs(key: Path, tmp_path: Path) -> None:
    reporter = Reporter(tmp_path / "state", host="h", sign=OwnKey(key).sign, send=lambda *_: None)
    (tmp_path / "state").mkdir(exist_ok=True)
    reporter.report("order_refused", {})
    done = rotate(key, overlap=DAY)
    reporter.report("order_refused", {})
    first, second = (json.loads(p.read_text()) for p in reporter.waiting())
    assert first["key_id"] == done.old and second["key_id"] == done.new and len(second["handovers"]) == 1


def test_the_private_key_is_its_owners_alone_and_the_old_one_is_gone(key: Path) -> None:
    old = key.read_bytes()
    done = rotate(key, overlap=DAY)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and key.read_bytes() != old
    assert sorted(p.name for p in key.parent.glob("*.pem")) == ["agent.pem"]
    document = json.loads(own_key.public_file(key).read_text())
    assert [(e["key_id"], bool(e.get("accepted_until"))) for e in document["keys"]] == [(done.new, False), (done.old, True)]
    assert "PRIVATE" not in own_key.public_file(key).read_text()


def test_a_second_rotation_waits_for_the_end_of_the_first(key: Path) -> None:
    done = rotate(key, overlap=DAY)
    with pytest.raises(RotationRefused, match=r"accepted until .* Rotate again after that"):
        rotate(key, overlap=DAY)
    assert orders.key_id(orders.load_private_key(key).public_key()) == done.new
    rotation_over = json.loads(own_key.public_file(key).read_text())
    rotation_over["keys"][1]["accepted_until"] = (datetime.now(UTC) - DAY).isoformat()
    own_key.public_file(key).write_text(json.dumps(rotation_over))
    assert rotate(key, overlap=DAY).old == done.new


def broken_off(key: Path, *, moment: datetime | None = None) -> rotation.Rotation:
    """A rotation whose process was killed after it had published the next key, before that signs."""
    return rotation.begin(key=key, public=own_key.public_file(key), purpose="agent", overlap=DAY, moment=moment or datetime.now(UTC))


def test_one_that_broke_off_is_gone_on_with(key: Path) -> None:
    begun = broken_off(key)
    done = rotate(key, overlap=DAY)
    assert (done.old, done.new) == (begun.old, begun.new)
    assert OwnKey(key).sign({})["key_id"] == begun.new and not rotation.pending_of(key).exists()


def test_one_that_broke_off_is_finished_by_the_agent(key: Path) -> None:
    running = OwnKey(key)
    running.sign({})
    begun = broken_off(key)
    for said in (running.sign({}), OwnKey(key).sign({})):
        assert said["key_id"] == begun.new and [h["key_id"] for h in said["handovers"]] == [begun.old]
    assert sorted(p.name for p in key.parent.glob("*.pem")) == ["agent.pem"]


def test_one_that_broke_off_before_the_host_was_away_for_its_overlap_is_told_anew(key: Path) -> None:
    known = orders.load_private_key(key).public_key()
    begun = broken_off(key, moment=datetime.now(UTC) - 2 * DAY)
    said = OwnKey(key).sign({"n": 1})
    found = read_handover(said["handovers"][0], keys={begun.old: known}, now=datetime.now(UTC), key_purpose="agent")
    assert found.new == begun.new == said["key_id"] and found.old_accepted_until - found.issued_at == DAY
    assert not rotation.pending_of(key).exists()


def test_the_agent_leaves_a_rotation_that_runs_to_itself(key: Path) -> None:
    with own_key._alone(key):
        begun = broken_off(key)
        said = OwnKey(key).sign({})
        assert said["key_id"] == begun.old and len(said["handovers"]) == 1
    assert OwnKey(key).sign({})["key_id"] == begun.new


def test_a_next_key_that_nobody_was_told_of_does_not_sign(key: Path) -> None:
    before = OwnKey(key).sign({})["key_id"]
    orders.generate_private_key(rotation.pending_of(key))
    said = OwnKey(key).sign({})
    assert said["key_id"] == before and "handovers" not in said and rotation.pending_of(key).exists()


def without_times(key: Path) -> None:
    public = own_key.public_file(key)
    document = json.loads(public.read_text())
    for handover in document["handovers"]:
        handover["payload"] = json.dumps({**json.loads(handover["payload"]), "issued_at": "never"})
    public.write_text(json.dumps(document))


@pytest.mark.parametrize("damage", [lambda key: rotation.pending_of(key).write_text("no key"), without_times])
def test_one_that_cannot_be_finished_leaves_the_old_key_signing(key: Path, damage: Callable[[Path], object]) -> None:
    begun = broken_off(key)
    damage(key)
    said = OwnKey(key).sign({})
    assert said["key_id"] == begun.old and len(said["handovers"]) == 1


def test_a_key_that_cannot_be_read_any_more_leaves_the_one_before_signing(key: Path) -> None:
    signer = OwnKey(key)
    before = signer.sign({})["key_id"]
    key.write_text("no key")
    assert signer.sign({})["key_id"] == before
    own_key.public_file(key).write_text("{")
    assert signer.sign({})["key_id"] == before


@pytest.mark.parametrize("hours", [0, -1, 24 * 30 + 1])
def test_an_overlap_that_is_none_or_too_long(key: Path, hours: float) -> None:
    with pytest.raises(RotationRefused, match="overlap: give hours above 0 and at most 720"):
        rotate(key, overlap=timedelta(hours=hours))
    assert not rotation.pending_of(key).exists()


def test_the_command_says_which_keys_and_what_is_wrong(key: Path) -> None:
    command = [sys.executable, "-m", "celery_worker.agent.own_key"]
    done = subprocess.run([*command, "--key", str(key), "--overlap", "2"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert orders.key_id(orders.load_private_key(key).public_key()) in done.stdout
    again = subprocess.run([*command, "--key", str(key.parent / "none.pem")], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 1 and "on the serving host" in again.stderr
