"""Messages exist exactly if their change does, and none is lost or taken by two at once."""

from datetime import timedelta

import pytest
from django.db import transaction

from apps.core import clock
from apps.outbox import services
from apps.outbox.models import Message


@pytest.mark.django_db(transaction=True)
def test_a_message_needs_a_transaction():
    with pytest.raises(RuntimeError):
        services.put("tests.nothing", {})


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_change_leaves_no_message():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        services.put("tests.nothing", {})
        raise ZeroDivisionError
    assert not Message.objects.exists()


@pytest.mark.django_db
def test_a_claimed_message_is_not_claimed_again_until_the_claim_runs_out():
    services.put("tests.one", {"id": 1})
    assert [m.topic for m in services.claim()] == ["tests.one"]
    assert services.claim() == []
    with clock.fixed(clock.now() + timedelta(seconds=services.CLAIM_S + 1)):
        assert len(services.claim()) == 1


@pytest.mark.django_db
def test_a_sent_message_is_settled_once_and_swept_after_a_week():
    services.put("tests.one", {})
    row = Message.objects.get()
    assert services.mark_sent([row.id]) == 1
    assert services.mark_sent([row.id]) == 0
    assert services.sweep() == 0
    with clock.fixed(clock.now() + timedelta(days=8)):
        assert services.sweep() == 1


@pytest.mark.django_db
def test_a_message_the_broker_refused_comes_back_later():
    services.put("tests.one", {})
    row = Message.objects.get()
    services.claim()
    services.mark_failed(row.id)
    assert services.claim() == []
    with clock.fixed(clock.now() + timedelta(seconds=3)):
        assert len(services.claim()) == 1


@pytest.mark.django_db
def test_a_message_due_later_waits():
    services.put("tests.later", {}, due_at=clock.now() + timedelta(minutes=1))
    assert services.claim() == []
    assert services.waiting() == 0
