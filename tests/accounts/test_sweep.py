"""Rows that only matter for a while are deleted when their time is over, by the clock."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session

from apps.accounts import rules, services
from apps.accounts.models import IdempotencyKey, SignInAttempt
from apps.core import clock
from apps.core.errors import NotAllowed

pytestmark = pytest.mark.django_db


def _rows():
    IdempotencyKey.objects.create(owner="o", key="k", path="/p", request_hash="h")
    SignInAttempt.objects.create(email_hash="e", at=clock.now())
    Session.objects.create(session_key="s" * 32, session_data="", expire_date=clock.now() + timedelta(hours=1))


def test_what_is_within_its_time_stays_and_what_is_past_it_goes(system):
    _rows()
    assert services.sweep(actor=system) == {"idempotency_keys": 0, "sign_in_attempts": 0, "sessions": 0}
    with clock.fixed(clock.now() + rules.KEEP_ATTEMPTS + timedelta(seconds=1)):
        assert services.sweep(actor=system) == {"idempotency_keys": 0, "sign_in_attempts": 1, "sessions": 1}
    with clock.fixed(clock.now() + rules.KEEP_IDEMPOTENCY_KEYS + timedelta(seconds=1)):
        assert services.sweep(actor=system) == {"idempotency_keys": 1, "sign_in_attempts": 0, "sessions": 0}
        assert services.sweep(actor=system)["idempotency_keys"] == 0


def test_a_lock_is_never_lifted_by_the_sweep(system, make_user):
    assert rules.KEEP_ATTEMPTS > rules.FAILURE_WINDOW


def test_one_run_deletes_a_bounded_number(system, monkeypatch):
    monkeypatch.setattr(rules, "SWEEP_AT_ONCE", 2)
    for number in range(5):
        SignInAttempt.objects.create(email_hash=str(number), at=clock.now() - timedelta(days=2))
    assert [services.sweep(actor=system)["sign_in_attempts"] for _ in range(4)] == [2, 2, 1, 0]


def test_people_do_not_sweep(make_user, actor_of):
    with pytest.raises(NotAllowed):
        services.sweep(actor=actor_of(make_user("stakeholder")))


@pytest.mark.django_db(transaction=True)
def test_control_does_it_by_the_clock():
    from celery_worker.control import schedule, tasks

    SignInAttempt.objects.create(email_hash="e", at=clock.now() - timedelta(days=2))
    tasks.sweep_accounts.run()
    assert not SignInAttempt.objects.exists()
    assert schedule.entries()["sweep_accounts"]["task"] == "control.sweep_accounts"
