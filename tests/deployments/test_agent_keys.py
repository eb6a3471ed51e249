"""A host rotates its own key: the registered key signs the hand-over, and nobody else's word counts."""

import base64
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command

from apps.core import clock
from apps.core.clock import now
from apps.deployments import services
from apps.deployments.models import Host
from celery_worker import orders
from celery_worker.handover import LONGEST_OVERLAP, make_handover
from tests.deployments.world import Agent, actions, events, later

pytestmark = pytest.mark.django_db
SAID = {"order_id": None, "reason": "unsigned", "detail": "D.", "order_sha256": "0" * 64}
OVERLAP = timedelta(hours=24)


def handed_over(old, new, *, overlap=OVERLAP, purpose="agent", at=None):
    moment = at or now()
    return make_handover(old=old, new=new, issued_at=moment, old_accepted_until=moment + overlap, key_purpose=purpose)


def report(agent, *handovers):
    """A report with hand-overs beside it, as a host sends them; returns whether it was believed."""
    envelope = {**agent.envelope("order_refused", SAID), "handovers": list(handovers)}
    return bool(services.receive_report(envelope=envelope).report_ids)


def refused():
    return [e["after"]["reason"] for e in events("deployments.host.handover_refused")]


@pytest.fixture
def old(agent):
    return agent


@pytest.fixture
def new():
    return Agent("local", Ed25519PrivateKey.generate())


def test_a_report_under_the_new_key_is_believed_when_the_registered_key_handed_over(old, new):
    handover = handed_over(old.key, new.key)
    assert report(new, handover) and report(new) and report(old)
    host = Host.objects.get()
    assert host.key_id == orders.key_id(new.key.public_key()) and host.previous_key_id == orders.key_id(old.key.public_key())
    (event,) = events("deployments.host.key_handed_over")
    assert event["actor"]["id"] == "agent:local"
    assert (event["before"]["key_id"], event["after"]["key_id"]) == (host.previous_key_id, host.key_id)
    # It travels along for a day, and is done.
    assert report(new, handover) and report(old, handover)
    assert len(events("deployments.host.key_handed_over")) == 1 and refused() == []


def test_the_old_key_counts_in_the_overlap_and_not_after_it(old, new):
    assert report(new, handed_over(old.key, new.key))
    with clock.fixed(later(timedelta(hours=23).total_seconds())):
        assert report(old) and report(new)
    with clock.fixed(later(timedelta(hours=25).total_seconds())):
        assert not report(old) and report(new)


def test_it_goes_on_rotation_after_rotation(old, new):
    third = Agent("local", Ed25519PrivateKey.generate())
    assert report(new, handed_over(old.key, new.key))
    assert report(third, handed_over(new.key, third.key))
    assert not report(old), "its reports counted until the next rotation"
    assert report(new) and report(third)


def ends():
    return [(e["before"]["key_id"], e["after"]["old_accepted_until"]) for e in events("deployments.host.overlap_lengthened")]


def test_a_rotation_run_again_lets_the_old_key_count_until_the_later_end(old, new):
    assert report(new, handed_over(old.key, new.key))
    with clock.fixed(later(timedelta(hours=20).total_seconds())):
        again = handed_over(old.key, new.key)
        assert report(new, again) and report(new, again)
        until = Host.objects.get().previous_until
        assert until == now() + OVERLAP and len(ends()) == 1 and ends()[0][0] == orders.key_id(old.key.public_key())
        # An end that is earlier takes nothing back.
        assert report(new, handed_over(old.key, new.key, overlap=timedelta(hours=1))) and Host.objects.get().previous_until == until
    with clock.fixed(later(timedelta(hours=30).total_seconds())):
        assert report(old) and report(new, again)
    assert refused() == [] and len(ends()) == 1


def test_one_told_anew_when_the_old_keys_time_is_over_is_no_forgery_and_brings_nothing_back(old, new):
    assert report(new, handed_over(old.key, new.key))
    with clock.fixed(later(timedelta(hours=25).total_seconds())):
        assert report(new, handed_over(old.key, new.key))
        assert not report(old)
    assert refused() == [] and ends() == []


def test_whoever_holds_the_old_key_does_not_keep_it_counting_for_ever(old, new):
    assert report(new, handed_over(old.key, new.key, overlap=LONGEST_OVERLAP))
    with clock.fixed(later(timedelta(days=29).total_seconds())):
        assert report(new, handed_over(old.key, new.key, overlap=LONGEST_OVERLAP))
    with clock.fixed(later(timedelta(days=31).total_seconds())):
        assert not report(old) and report(new)


def test_an_overlap_that_an_administrator_set_is_not_lengthened(old, new, system):
    text = orders.public_to_text(new.key.public_key())
    services.register_host(actor=system, name="local", public_key=text, replace_key=True, overlap_hours=2)
    assert report(new, handed_over(old.key, new.key)) and refused() == [] and ends() == []
    with clock.fixed(later(timedelta(hours=3).total_seconds())):
        assert not report(old)


def test_without_the_hand_over_the_new_key_is_a_strangers(old, new):
    assert not report(new)
    assert events("deployments.report.refused")[0]["after"]["reason"] == "unknown_key"


def resigned(handover, key, **changes):
    return orders.sign({**json.loads(handover["payload"]), **changes}, private_key=key)


MOMENT = timedelta(minutes=1)
FORGERIES = {
    "signed by a stranger": ("unknown_key", lambda h, old, new, evil: handed_over(evil, new)),
    "signed by a stranger who names the registered key": (
        "bad_signature", lambda h, old, new, evil: {**handed_over(evil, new), "key_id": orders.key_id(old.public_key())},
    ),
    "signed by the new key itself": ("unknown_key", lambda h, old, new, evil: resigned(h, new)),
    "of another purpose": ("malformed", lambda h, old, new, evil: handed_over(old, new, purpose="order")),
    "an ordinary report in its place": ("malformed", lambda h, old, new, evil: Agent("local", old).envelope("order_refused", SAID)),
    "to a key it does not name": (
        "malformed", lambda h, old, new, evil: resigned(h, old, public=orders.public_to_text(evil.public_key())),
    ),
    "to a key whose holder did not sign": (
        "bad_signature", lambda h, old, new, evil: resigned(h, old, proof=base64.b64encode(evil.sign(b"anything")).decode()),
    ),
    "altered after it was signed": ("bad_signature", lambda h, old, new, evil: {**h, "payload": h["payload"].replace('"v":1', '"v":2')}),
    "without a signature": ("unsigned", lambda h, old, new, evil: {**h, "signature": None}),
    "dated in the future": ("not_yet_valid", lambda h, old, new, evil: handed_over(old, new, at=now() + timedelta(hours=1))),
    "of yesterday": ("expired", lambda h, old, new, evil: handed_over(old, new, overlap=MOMENT, at=now() - timedelta(days=1))),
    "with an overlap of years": (
        "expired",
        lambda h, old, new, evil: resigned(h, old, old_accepted_until=orders.time_to_text(now() + LONGEST_OVERLAP + timedelta(days=1))),
    ),
    "no hand-over at all": ("malformed", lambda h, old, new, evil: "hand-over"),
    "to itself": ("malformed", lambda h, old, new, evil: handed_over(old, old)),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_hand_over_is_refused_audited_and_changes_nothing(old, new, name):
    reason, forge = FORGERIES[name]
    before = Host.objects.values("public_key", "key_id", "previous_key_id").get()
    forged = forge(handed_over(old.key, new.key), old.key, new.key, Ed25519PrivateKey.generate())
    assert report(old, forged), "what the registered key signs is believed all the same"
    assert refused() == [reason]
    assert not report(new)
    assert Host.objects.values("public_key", "key_id", "previous_key_id").get() == before
    assert "deployments.host.key_handed_over" not in actions()


def test_a_key_hands_over_once(old, new):
    thief = Agent("local", Ed25519PrivateKey.generate())
    assert report(new, handed_over(old.key, new.key))
    assert not report(thief, handed_over(old.key, thief.key))
    assert refused() == ["bad_signature"] and Host.objects.get().key_id == orders.key_id(new.key.public_key())


def test_a_key_that_is_registered_again_has_handed_over_already(old, new, system):
    captured = handed_over(old.key, new.key)
    assert report(new, captured)
    text = orders.public_to_text(old.key.public_key())
    services.register_host(actor=system, name="local", public_key=text, replace_key=True)
    thief = Agent("local", Ed25519PrivateKey.generate())
    assert not report(new, captured) and not report(thief, handed_over(old.key, thief.key))
    assert Host.objects.get().key_id == orders.key_id(old.key.public_key()) and report(old)
    assert refused() == ["bad_signature", "bad_signature"] and actions().count("deployments.host.key_handed_over") == 1
    # Another one by hand, and rotation goes on.
    third, fourth = (Agent("local", Ed25519PrivateKey.generate()) for _ in range(2))
    text = orders.public_to_text(third.key.public_key())
    services.register_host(actor=system, name="local", public_key=text, replace_key=True)
    assert report(fourth, handed_over(third.key, fourth.key))


def test_a_key_that_was_replaced_by_hand_hands_over_to_nobody(old, new, system):
    thief = Agent("local", Ed25519PrivateKey.generate())
    text = orders.public_to_text(new.key.public_key())
    services.register_host(actor=system, name="local", public_key=text, replace_key=True, overlap_hours=24)
    assert report(old), "its reports count still"
    assert not report(thief, handed_over(old.key, thief.key)) and report(new)
    assert refused() == ["bad_signature"]


def test_a_key_does_not_come_back_and_is_no_other_hosts(old, new, system):
    other = Ed25519PrivateKey.generate()
    services.register_host(actor=system, name="other", public_key=orders.public_to_text(other.public_key()))
    assert report(old, handed_over(old.key, other))
    assert report(new, handed_over(old.key, new.key))
    assert report(new, handed_over(new.key, old.key))
    assert refused() == ["bad_signature", "bad_signature"]
    assert set(Host.objects.values_list("key_id", flat=True)) == {orders.key_id(k.public_key()) for k in (new.key, other)}


def test_a_retired_host_hands_over_to_nobody(old, new):
    Host.objects.update(state="retired")
    assert not report(new, handed_over(old.key, new.key)) and refused() == ["unknown_key"]


def test_many_at_once_are_not_read(old, new):
    strangers = [Ed25519PrivateKey.generate() for _ in range(5)]
    assert report(old, *(handed_over(k, new.key) for k in strangers), handed_over(old.key, new.key))
    assert refused() == ["unknown_key", "unknown_key"] and not report(new)


def test_both_are_listed_for_whoever_pins_them(old, new, api, make_user):
    assert report(new, handed_over(old.key, new.key))
    rows = api(make_user("auditor")).get("/api/v1/keys/").json()["results"]
    assert [(r["id"], bool(r["accepted_until"])) for r in rows if r["host"] == "local"] == [
        (orders.key_id(new.key.public_key()), False), (orders.key_id(old.key.public_key()), True),
    ]  # fmt: skip


def test_the_command_takes_it_up_from_the_file_and_asks_for_no_replacement(old, new, tmp_path):
    file = tmp_path / "agent-public.json"
    entries = [orders.public_entry(k.public_key(), purpose="agent") for k in (new.key, old.key)]
    file.write_text(json.dumps({"keys": entries}))
    with pytest.raises(CommandError, match="registered with another key"):
        call_command("register_host", "--name", "local", "--public-key-file", str(file))
    file.write_text(json.dumps({"keys": entries, "handovers": [handed_over(Ed25519PrivateKey.generate(), new.key)]}))
    with pytest.raises(CommandError, match="registered with another key"):
        call_command("register_host", "--name", "local", "--public-key-file", str(file))
    file.write_text(json.dumps({"keys": entries, "handovers": [handed_over(old.key, new.key)]}))
    call_command("register_host", "--name", "local", "--public-key-file", str(file))
    assert report(new) and report(old)
    call_command("register_host", "--name", "local", "--public-key-file", str(file))
    assert actions().count("deployments.host.key_handed_over") == 1
