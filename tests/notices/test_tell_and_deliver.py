"""What is told exists exactly if it happened, comes at least once, and is tried again."""

import threading
from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection, transaction

from apps.core import boxes, clock
from apps.core.errors import Conflict, NotAllowed
from apps.notices import rules, services
from apps.notices.models import Delivery, Notice, Try
from apps.outbox.models import Message


@pytest.fixture
def hook(db, admin, receiver):
    row, key = services.add_webhook(actor=admin, name="ci", url=receiver.url, events=["gate.approved"])
    row.key = key
    return row


def tell(**more):
    with transaction.atomic():
        return services.tell(**({"event": "gate.approved", "title": "Approved: churn", "text": "Until May.", "path": "/gates/1/"} | more))


@pytest.mark.django_db(transaction=True)
def test_a_webhook_gets_what_it_asked_for_signed_and_once(hook, receiver, settings):
    settings.BASE_URL = "https://portal.example.org"
    notice = tell(data={"gate": "1"})
    tell(event="gate.signed")
    assert Message.objects.filter(topic="notices.deliver").exists()
    assert services.deliver_due() == 1 and services.deliver_due() == 0
    headers, raw, body = receiver.got[0]
    assert (body["type"], body["data"]["gate"], body["data"]["url"]) == ("gate.approved", "1", "https://portal.example.org/gates/1/")
    assert headers["webhook-id"] == str(notice.id) and len(receiver.got) == 1
    expected = rules.signature(hook.key, notice_id=str(notice.id), timestamp=int(headers["webhook-timestamp"]), body=raw)
    assert headers["webhook-signature"] == expected and headers["Host"] == receiver.url.split("/")[2]
    delivery = Delivery.objects.get(webhook=hook)
    assert delivery.state == "delivered" and Try.objects.get().status == 204


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_told_to_nobody(hook, receiver, make_user):
    with pytest.raises(RuntimeError), transaction.atomic():
        services.tell(event="gate.approved", title="x", people=[make_user("stakeholder").id])
        raise RuntimeError
    assert not Notice.objects.exists() and services.deliver_due() == 0 and receiver.got == []


@pytest.mark.django_db(transaction=True)
def test_failures_are_tried_again_after_growing_pauses_then_given_up(hook, receiver):
    receiver.statuses = [500]
    tell()
    moment = clock.now()
    for pause in (*rules.PAUSES, timedelta()):
        with clock.fixed(moment):
            assert services.deliver_due() == 1 and services.deliver_due() == 0, "not before its time"
        moment += pause
    row = Delivery.objects.get()
    assert row.state == "gave_up" and row.log.count() == len(rules.PAUSES) + 1 == len(receiver.got)
    assert "answered 500" in row.log.first().error


@pytest.mark.django_db(transaction=True)
def test_one_that_comes_back_gets_it_and_repeats_carry_the_same_id(hook, receiver):
    receiver.statuses = [503, 200]
    tell()
    services.deliver_due()
    with clock.fixed(clock.now() + timedelta(seconds=6)):
        services.deliver_due()
    assert Delivery.objects.get().state == "delivered"
    assert len({headers["webhook-id"] for headers, _, _ in receiver.got}) == 1 and len(receiver.got) == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("status", "says"), [(302, "answered 302"), (410, "answered 410")])
def test_redirects_are_not_followed_and_gone_is_final(hook, receiver, status, says):
    receiver.statuses = [status]
    tell()
    services.deliver_due()
    row = Delivery.objects.get()
    assert says in row.log.get().error and len(receiver.got) == 1
    assert row.state == ("gave_up" if status == 410 else "waiting")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("url", "says"),
    [("http://127.0.0.1:1/", "cannot be reached"), ("https://nowhere.invalid/", "not known")],
)
def test_who_cannot_be_reached_is_named_in_the_log(admin, receiver, url, says):
    services.add_webhook(actor=admin, name="gone", url=url)
    tell()
    services.deliver_due()
    assert says in Try.objects.get().error


@pytest.mark.django_db(transaction=True)
def test_a_name_that_leads_to_this_machine_is_not_called(admin, receiver, settings, monkeypatch):
    row, _ = services.add_webhook(actor=admin, name="inside", url="https://intranet.example.org/")
    settings.WEBHOOKS_TO_LOOPBACK = False
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: [(2, 1, 6, "", ("127.0.0.1", 443))])
    tell()
    services.deliver_due()
    assert "not called" in Try.objects.get(delivery__webhook=row).error


@pytest.mark.django_db(transaction=True)
def test_people_are_told_on_their_page_and_by_email_unless_they_do_not_want_it(make_user, actor_of):
    loud, quiet, gone = make_user("stakeholder"), make_user("stakeholder"), make_user("stakeholder")
    services.choose_mail(actor=actor_of(quiet), wanted=False)
    type(gone).objects.filter(id=gone.id).update(is_active=False)
    tell(title="Your signature\nBcc: evil@example.org", people=[loud.id, quiet.id, gone.id, loud.id])
    assert services.deliver_due() == 1
    assert [m.to for m in mail.outbox] == [[loud.email]]
    assert mail.outbox[0].subject == "[Gatehouse] Your signature Bcc: evil@example.org" and "/gates/1/" in mail.outbox[0].body
    assert set(Delivery.objects.values_list("person", "state")) == {(loud.id, "delivered"), (quiet.id, "shown")}


@pytest.mark.django_db(transaction=True)
def test_a_mail_server_that_is_away_is_tried_again(make_user, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    tell(people=[make_user("stakeholder").id])
    services.deliver_due()
    row = Delivery.objects.get()
    assert row.state == "waiting" and "mail server" in row.log.get().error


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_send_each_delivery_once(hook, receiver):
    for _ in range(10):
        tell()
    done = []

    def work():
        done.append(services.deliver_due())
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 10 == len(receiver.got) and len({h["webhook-id"] for h, _, _ in receiver.got}) == 10


@pytest.mark.django_db(transaction=True)
def test_one_that_died_after_the_call_sends_again_after_its_claim(hook, receiver, monkeypatch):
    tell()
    settle = services._settle
    monkeypatch.setattr(services, "_settle", lambda *a, **k: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        services.deliver_due()
    monkeypatch.setattr(services, "_settle", settle)
    assert services.deliver_due() == 0, "claimed"
    with clock.fixed(clock.now() + services.CLAIM + timedelta(seconds=1)):
        assert services.deliver_due() == 1
    assert len(receiver.got) == 2 and Delivery.objects.get().state == "delivered"


@pytest.mark.django_db(transaction=True)
def test_a_replaced_key_signs_along_for_a_day(hook, admin, receiver):
    _, new = services.rotate_key(actor=admin, webhook_id=hook.id)
    notice = tell()
    services.deliver_due()
    headers, raw, _ = receiver.got[0]
    stamp = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"].split(" ") == [
        rules.signature(k, notice_id=str(notice.id), timestamp=stamp, body=raw) for k in (new, hook.key)
    ]
    with clock.fixed(clock.now() + timedelta(hours=25)):
        tell()
        services.deliver_due()
    assert " " not in receiver.got[1][0]["webhook-signature"]


@pytest.mark.django_db(transaction=True)
def test_keys_are_not_readable_in_the_database(hook, settings, receiver):
    assert hook.key not in hook.key_box and boxes.unlock(hook.key_box, purpose="webhook") == hook.key
    settings.SECRET_KEY = "another" * 8
    tell()
    services.deliver_due()
    assert "Rotate" in Try.objects.get().error and receiver.got == []


@pytest.mark.django_db(transaction=True)
def test_asking_again_sends_it_again(hook, admin, receiver, make_user, actor_of):
    tell()
    services.deliver_due()
    row = Delivery.objects.get()
    with pytest.raises(NotAllowed):
        services.redeliver(actor=actor_of(make_user("auditor")), delivery_id=row.id)
    services.redeliver(actor=admin, delivery_id=row.id)
    services.deliver_due()
    assert len(receiver.got) == 2 and Try.objects.count() == 2
    services.end_webhook(actor=admin, webhook_id=hook.id)
    with pytest.raises(Conflict):
        services.redeliver(actor=admin, delivery_id=row.id)
    tell()
    assert services.deliver_due() == 0


@pytest.mark.django_db(transaction=True)
def test_old_notices_are_swept_and_the_trail_stays(hook, receiver):
    tell()
    services.deliver_due()
    with clock.fixed(clock.now() + timedelta(days=91)):
        assert services.sweep() > 0
    assert not Notice.objects.exists() and not Try.objects.exists()
