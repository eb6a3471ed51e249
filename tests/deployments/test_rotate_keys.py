"""Rotating the order key: the next key is published and handed over to before it signs, and what broke off is gone on with."""

import json
import stat
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from apps.audit.models import Event
from apps.core.clock import now
from apps.core.errors import Invalid, NotAllowed
from apps.deployments import services
from apps.deployments.gateways import keys
from apps.deployments.models import RoutingSnapshot
from celery_worker import orders
from celery_worker.agent.trust import OrderKeys

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path, settings):
    """Control's keys; returns what an agent that was set up before any rotation has pinned."""
    private = orders.generate_private_key(tmp_path / "order.pem")
    public = tmp_path / "order-public.json"
    public.write_text(json.dumps({"keys": [orders.public_entry(private.public_key(), purpose="order")]}))
    settings.ORDER_KEY, settings.ORDER_PUBLIC_KEYS = str(tmp_path / "order.pem"), str(public)
    return tmp_path


@pytest.fixture
def pinned(folder):
    return orders.load_public_keys(folder / "order-public.json")


@pytest.fixture
def rotate(system):
    def once(hours=24.0):
        made = services.rotate_order_key(actor=system, overlap_hours=hours)
        services.finish_key_rotation(actor=system)
        while hours < 0.001 and now() <= made.accepted_until:
            time.sleep(0.001)
        return made

    return once


def current() -> str:
    return orders.key_id(keys.order_key().public_key())


def test_orders_are_signed_by_the_new_key_and_an_agent_with_the_old_pin_believes_them(folder, pinned, rotate, tmp_path):
    agent, before = OrderKeys(pinned, tmp_path / "agent"), keys.signed({"n": 1})
    made = rotate()
    after = keys.signed({"n": 2})
    assert (before["key_id"], after["key_id"]) == (made.old, made.new) and current() == made.new
    assert agent.verify(before)["n"] == 1 and agent.verify(after)["n"] == 2
    later = datetime.now(UTC) + timedelta(hours=25)
    assert agent.verify(after, now=later)["n"] == 2
    with pytest.raises(orders.OrderRefused, match="unknown_key"):
        agent.verify(before, now=later)


def test_both_are_listed_with_their_times_and_the_private_key_is_its_owners_alone(folder, api, make_user, rotate, settings):
    made = rotate()
    settings.SEAL_PUBLIC_KEY = str(folder / "none.json")
    rows = api(make_user("auditor")).get("/api/v1/keys/").json()["results"]
    assert [(r["id"], bool(r["created_at"]), bool(r["accepted_until"])) for r in rows] == [(made.new, True, False), (made.old, False, True)]
    assert stat.S_IMODE((folder / "order.pem").stat().st_mode) == 0o600
    assert not (folder / "order-next.pem").exists()
    assert "PRIVATE" not in (folder / "order-public.json").read_text()


def test_it_is_in_the_trail(rotate, folder):
    made = rotate(2)
    event = Event.objects.filter(action="deployments.order_key.rotated", object_id=made.new).get()
    said = json.loads(event.payload)
    assert said["before"] == {"key_id": made.old} and said["after"]["key_id"] == made.new


def test_what_broke_off_before_the_new_key_signs_is_gone_on_with(folder, pinned, system, rotate, tmp_path):
    begun = services.rotate_order_key(actor=system, overlap_hours=24)
    assert current() == begun.old and (folder / "order-next.pem").exists()
    published = orders.load_public_keys(folder / "order-public.json")
    assert set(published) == {begun.old, begun.new}
    again = rotate()
    assert (again.old, again.new) == (begun.old, begun.new) and current() == begun.new
    assert OrderKeys(pinned, tmp_path / "agent").verify(keys.signed({"n": 1}))["n"] == 1


def test_what_is_gone_on_with_after_its_overlap_has_the_whole_overlap_again(folder, pinned, system, rotate, tmp_path):
    begun = services.rotate_order_key(actor=system, overlap_hours=0.000001)
    while now() <= begun.accepted_until:
        time.sleep(0.001)
    assert keys.handovers() == []
    made = rotate(24)
    assert (made.old, made.new) == (begun.old, begun.new) and made.accepted_until > now() + timedelta(hours=23)
    document = json.loads((folder / "order-public.json").read_text())
    assert [e["key_id"] for e in document["keys"]] == [made.new, made.old] and document["retired"] == []
    assert len(keys.handovers()) == len(document["handovers"]) == 1
    assert OrderKeys(pinned, tmp_path / "agent").verify(keys.signed({"n": 1}))["n"] == 1


def test_a_kill_while_the_next_key_is_written_is_in_nobodys_way(folder, rotate, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    before = current()
    with monkeypatch.context() as dying:
        dying.setattr("celery_worker.keys.os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            keys.begin_rotation(overlap=timedelta(hours=1))
    assert not (folder / "order-next.pem").exists()
    made = rotate()
    assert made.old == before and current() == made.new
    # As older releases left it.
    (folder / "order-next.pem").touch()
    assert rotate().old == made.new
    assert sorted(p.name for p in folder.glob("*.pem")) == ["order.pem"] and not list(folder.glob(".*.new"))


def test_a_key_that_was_made_and_not_yet_published_is_taken(folder, system, rotate):
    waiting = orders.generate_private_key(folder / "order-next.pem")
    assert rotate().new == orders.key_id(waiting.public_key())


def test_three_rotations_and_a_host_that_slept_through_two(folder, pinned, rotate, tmp_path):
    first, second, third = rotate(), rotate(), rotate()
    assert (first.new, second.new) == (second.old, third.old)
    assert OrderKeys(pinned, tmp_path / "agent").verify(keys.signed({"n": 1}))["n"] == 1
    assert [e["key_id"] for e in keys.published(folder / "order-public.json")][:2] == [third.new, third.old]


def test_a_key_whose_time_is_over_is_kept_apart_and_its_hand_over_travels_no_more(folder, rotate):
    first = rotate(0.000001)
    assert keys.handovers() == []
    second = rotate()
    document = json.loads((folder / "order-public.json").read_text())
    assert [e["key_id"] for e in document["keys"]] == [second.new, second.old]
    assert [e["key_id"] for e in document["retired"]] == [first.old]
    assert [h["key_id"] for h in keys.handovers()] == [second.old]
    assert first.old in [e["key_id"] for e in keys.published(folder / "order-public.json")]


def test_the_gateways_routes_are_signed_anew(folder, rotate, system):
    services.publish_routing(actor=system)
    made = rotate()
    services.publish_routing(actor=system)
    old, new = RoutingSnapshot.objects.order_by("version")
    assert (old.envelope["key_id"], new.envelope["key_id"]) == (made.old, made.new) and old.content_digest == new.content_digest
    services.publish_routing(actor=system)
    assert RoutingSnapshot.objects.count() == 2


def test_the_door_of_artifacts_takes_an_old_token_until_its_key_is_over(folder, settings, rotate):
    from apps.registry.machine import archive

    made = rotate(0.000001)
    assert set(archive._order_keys()) == {made.new}


@pytest.mark.parametrize("hours", [0, -1, 721, float("nan")])
def test_an_overlap_that_is_none_or_too_long(folder, system, hours):
    with pytest.raises(Invalid, match="overlap: give hours above 0 and at most 720"):
        services.rotate_order_key(actor=system, overlap_hours=hours)
    assert not (folder / "order-next.pem").exists()


def test_only_an_administrator_rotates(folder, make_user, actor_of):
    with pytest.raises(NotAllowed, match="Only an administrator"):
        services.rotate_order_key(actor=actor_of(make_user("ml_engineer")), overlap_hours=1)


@pytest.mark.django_db(transaction=True)
def test_the_command_says_which_keys(folder, capsys, settings):
    call_command("rotate_order_key", overlap=48.0)
    said = capsys.readouterr().out
    assert current() in said and "accepted until" in said
    settings.ORDER_KEY = ""
    with pytest.raises(CommandError, match="Run this where control runs"):
        call_command("rotate_order_key")
