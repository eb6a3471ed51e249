"""The order key is rotated under a running agent: the new key by the old one's word, the old one for a while, nobody else ever."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from celery_worker import keys as key_files
from celery_worker import orders
from celery_worker.agent import settings as agent_settings
from celery_worker.agent.tasks import acknowledge
from celery_worker.agent.trust import OrderKeys
from celery_worker.handover import LONGEST_OVERLAP, make_handover, read_handover

from .conftest import HOST, Agent, Keys

OVERLAP = timedelta(hours=24)


def id_of(key: Ed25519PrivateKey) -> str:
    return orders.key_id(key.public_key())


def stop_order(key: Ed25519PrivateKey, *, at: datetime | None = None, handovers: Any = None) -> dict[str, Any]:
    """A stop of a deployment that is not there: in order in every way, and quickly done."""
    moment = at or datetime.now(UTC)
    payload = {
        "v": 1, "order_id": str(uuid4()), "kind": "stop", "audience": HOST, "issued_at": orders.time_to_text(moment),
        "expires_at": orders.time_to_text(moment + timedelta(minutes=5)), "generation": 1, "deployment_id": str(uuid4()), "fence": 1,
    }  # fmt: skip
    envelope = orders.sign(payload, private_key=key)
    return envelope if handovers is None else {**envelope, "handovers": handovers}


def handover(old: Ed25519PrivateKey, new: Ed25519PrivateKey, *, at: datetime | None = None, overlap: timedelta = OVERLAP) -> dict[str, Any]:
    moment = at or datetime.now(UTC)
    return make_handover(old=old, new=new, issued_at=moment, old_accepted_until=moment + overlap)


@pytest.fixture
def new() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def test_an_order_under_the_new_key_is_carried_out_when_the_old_key_handed_over(agent: Agent, keys: Keys, new: Ed25519PrivateKey) -> None:
    agent.host.execute(stop_order(new, handovers=[handover(keys.order, new)]))
    assert agent.states() == ["stopped"] and agent.reports("order_refused") == []
    # From then on it is known, without the hand-over and after a restart too.
    agent.host.execute(stop_order(new))
    agent.restart()
    agent.host.execute(stop_order(new))
    assert agent.states() == ["stopped"] * 3


def test_the_old_key_is_accepted_in_the_overlap_and_refused_after_it(agent: Agent, keys: Keys, new: Ed25519PrivateKey) -> None:
    agent.host.execute(stop_order(new, handovers=[handover(keys.order, new)]))
    within, after = datetime.now(UTC) + OVERLAP - timedelta(minutes=1), datetime.now(UTC) + OVERLAP + timedelta(minutes=1)
    agent.host.execute(stop_order(keys.order, at=within), now=within)
    assert agent.reports("order_refused") == []
    agent.host.execute(stop_order(keys.order, at=after), now=after)
    (refusal,) = agent.reports("order_refused")
    assert refusal["reason"] == "unknown_key"
    agent.restart()
    agent.host.execute(stop_order(keys.order, at=after), now=after)
    assert len(agent.reports("order_refused")) == 2
    agent.host.execute(stop_order(new, at=after), now=after)
    assert agent.states()[-1] == "stopped" and len(agent.states()) == 3


def test_without_a_hand_over_the_new_key_is_a_stranger(agent: Agent, new: Ed25519PrivateKey) -> None:
    agent.host.execute(stop_order(new))
    assert agent.reports()[0]["reason"] == "unknown_key"


def altered(envelope: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**envelope, "payload": orders.canonical({**json.loads(envelope["payload"]), **changes})}


def signed_anew(envelope: dict[str, Any], key: Ed25519PrivateKey, **changes: Any) -> dict[str, Any]:
    return orders.sign({**json.loads(envelope["payload"]), **changes}, private_key=key)


FORGED: dict[str, Any] = {
    "signed by the new key itself": lambda old, new: signed_anew(handover(old, new), new),
    "signed by a stranger": lambda old, new: signed_anew(handover(old, new), Ed25519PrivateKey.generate()),
    "signed by a stranger in the old key's name": lambda old, new: {
        **signed_anew(handover(old, new), Ed25519PrivateKey.generate()),
        "key_id": id_of(old),
    },
    "of another new key than was signed": lambda old, new: altered(
        handover(old, Ed25519PrivateKey.generate()), new=id_of(new), public=orders.public_to_text(new.public_key())
    ),
    "without a signature": lambda old, new: {**handover(old, new), "signature": ""},
    "whose new key never proved itself": lambda old, new: signed_anew(handover(old, new), old, proof=base64.b64encode(bytes(64)).decode()),
    "whose id belongs to another key": lambda old, new: signed_anew(handover(old, new), old, new="0" * 16),
    "of a key for another purpose": lambda old, new: signed_anew(handover(old, new), old, key_purpose="agent"),
    "that is an order": lambda old, new: stop_order(old),
    "that is over": lambda old, new: handover(old, new, at=datetime.now(UTC) - timedelta(hours=2), overlap=timedelta(hours=1)),
    "dated in the future": lambda old, new: handover(old, new, at=datetime.now(UTC) + timedelta(hours=1)),
    "without an end": lambda old, new: signed_anew(handover(old, new), old, old_accepted_until="9999-01-01T00:00:00+00:00"),
    "that is no message": lambda old, new: "believe me",
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_hand_over_teaches_nothing(agent: Agent, keys: Keys, new: Ed25519PrivateKey, what: str) -> None:
    agent.host.execute(stop_order(new, handovers=[FORGED[what](keys.order, new)]))
    (refusal,) = agent.reports()
    assert refusal["reason"] == "unknown_key"
    assert set(agent.host.trust.at(datetime.now(UTC))) == {id_of(keys.order)}
    assert not (agent.host.settings.state_dir / "order-keys.json").exists()


def test_a_key_hands_over_once_and_a_retired_one_never_again(agent: Agent, keys: Keys, new: Ed25519PrivateKey) -> None:
    thief = Ed25519PrivateKey.generate()
    agent.host.execute(stop_order(new, handovers=[handover(keys.order, new)]))
    agent.host.execute(stop_order(thief, handovers=[handover(keys.order, thief)]))
    assert agent.reports("order_refused")[0]["reason"] == "unknown_key"
    later = datetime.now(UTC) + OVERLAP + timedelta(minutes=1)
    agent.host.execute(stop_order(thief, at=later, handovers=[handover(keys.order, thief, at=later)]), now=later)
    assert len(agent.reports("order_refused")) == 2
    # Nor is the old key brought back by the new one.
    agent.host.execute(stop_order(keys.order, at=later, handovers=[handover(new, keys.order, at=later)]), now=later)
    assert len(agent.reports("order_refused")) == 3


def test_a_host_that_missed_a_rotation_follows_the_chain(agent: Agent, keys: Keys, new: Ed25519PrivateKey) -> None:
    third = Ed25519PrivateKey.generate()
    agent.host.execute(stop_order(third, handovers=[handover(keys.order, new), handover(new, third)]))
    assert agent.states() == ["stopped"]
    assert set(agent.host.trust.at(datetime.now(UTC) + OVERLAP * 2)) == {id_of(third)}


def test_who_pins_anew_forgets_what_the_old_pin_brought(keys: Keys, new: Ed25519PrivateKey, tmp_path: Path) -> None:
    believed = OrderKeys(keys.order_public, tmp_path)
    believed.learn({"handovers": [handover(keys.order, new)]})
    assert id_of(new) in believed.at(datetime.now(UTC))
    fresh = Ed25519PrivateKey.generate()
    again = OrderKeys({id_of(fresh): fresh.public_key()}, tmp_path)
    assert set(again.at(datetime.now(UTC))) == {id_of(fresh)}


def test_a_file_of_learned_keys_that_cannot_be_read_is_not_passed_over(keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "order-keys.json").write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        OrderKeys(keys.order_public, tmp_path)


def test_an_acknowledgement_under_the_new_key_is_believed_too(
    agent: Agent, keys: Keys, new: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celery_worker.agent.app import runtime

    monkeypatch.setattr(runtime, "_host", agent.host)
    agent.host.execute("nonsense")
    (waiting,) = agent.host.reporter.waiting()
    report_id = json.loads(json.loads(waiting.read_text())["payload"])["report_id"]
    said = orders.make_acknowledgement(report_ids=[report_id], audience=HOST, issued_at=datetime.now(UTC), private_key=new)
    acknowledge(said)
    assert len(agent.host.reporter.waiting()) == 1
    acknowledge({**said, "handovers": [handover(keys.order, new)]})
    assert agent.host.reporter.waiting() == []


def test_a_pinned_file_says_until_when(keys: Keys, new: Ed25519PrivateKey, tmp_path: Path) -> None:
    moment = datetime.now(UTC)
    entries = [
        orders.public_entry(new.public_key(), purpose="order"),
        {**orders.public_entry(keys.order.public_key(), purpose="order"), "accepted_until": orders.time_to_text(moment + OVERLAP)},
    ]
    file = tmp_path / "order-public.json"
    file.write_text(json.dumps({"keys": entries}))
    told = agent_settings.from_environment(
        {
            "GATEHOUSE_AGENT_NAME": HOST, "GATEHOUSE_AGENT_KEY": str(keys.folder / "agent.pem"), "GATEHOUSE_AGENT_STATE": str(tmp_path / "a"),
            "GATEHOUSE_ORDER_PUBLIC_KEYS": str(file),
        }
    )  # fmt: skip
    believed = OrderKeys(told.order_keys, tmp_path / "a", until=told.order_keys_until)
    assert set(believed.at(moment)) == {id_of(new), id_of(keys.order)}
    assert set(believed.at(moment + OVERLAP)) == {id_of(new)}
    assert set(key_files.load_public_keys(file, at=moment + OVERLAP)) == {id_of(new)}


@pytest.mark.parametrize("overlap", [timedelta(0), timedelta(seconds=-1), LONGEST_OVERLAP + timedelta(seconds=1)])
def test_an_overlap_is_longer_than_nothing_and_not_for_ever(keys: Keys, new: Ed25519PrivateKey, overlap: timedelta) -> None:
    with pytest.raises(ValueError, match="at most 30 days"):
        handover(keys.order, new, overlap=overlap)


def test_what_is_handed_over_is_read_back(keys: Keys, new: Ed25519PrivateKey) -> None:
    moment = datetime.now(UTC)
    found = read_handover(handover(keys.order, new, at=moment), keys=keys.order_public, now=moment)
    assert (found.old, found.new, found.old_accepted_until) == (id_of(keys.order), id_of(new), moment + OVERLAP)
