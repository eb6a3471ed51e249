"""Doors of notices: REST and pages."""

import pytest

from apps.audit.models import Event
from apps.notices import services
from apps.notices.models import Webhook

pytestmark = pytest.mark.django_db
WEBHOOK = {"name": "ci", "url": "https://ci.example.org/hook", "events": ["gate.approved"]}


def test_an_administrator_adds_changes_renews_tries_and_ends_one(api, make_user):
    client = api(make_user("admin"))
    made = client.post("/api/v1/webhooks/", WEBHOOK)
    assert made.status_code == 201 and made.data["signing_key"].startswith("whsec_")
    where = f"/api/v1/webhooks/{made.data['id']}/"
    assert "signing_key" not in client.get(where).data
    assert client.patch(where, {"events": []}).data["events"] == []
    assert client.post(f"{where}rotate-key/").data["signing_key"] != made.data["signing_key"]
    assert client.post(f"{where}test/").status_code == 202
    assert client.get(f"{where}deliveries/").data["results"][0]["notice"]["event"] == "webhook.test"
    assert client.delete(where).data["ended_at"]
    assert client.patch(where, {"name": "x"}).status_code == 409
    wanted = {"added", "changed", "key_rotated", "ended"}
    assert wanted <= {e.action.split(".")[2] for e in Event.objects.filter(object_type="webhook")}
    assert made.data["signing_key"] not in "".join(Event.objects.values_list("payload", flat=True))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [("url", "http://ci.example.org", "https"), ("events", ["gate.opened"], "Unknown"), ("name", " ", "name"), ("url", "https://127.0.0.1/", "not called")],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(api, make_user, settings, field, value, says):
    settings.WEBHOOKS_TO_LOOPBACK = False
    answer = api(make_user("admin")).post("/api/v1/webhooks/", WEBHOOK | {field: value})
    assert answer.status_code == 400 and field in str(answer.data["errors"]) and says in answer.data["detail"]
    assert not Webhook.objects.exists()


def test_a_name_is_given_once(api, make_user):
    client = api(make_user("admin"))
    client.post("/api/v1/webhooks/", WEBHOOK)
    assert client.post("/api/v1/webhooks/", WEBHOOK).status_code == 409


@pytest.mark.parametrize(("role", "read"), [("auditor", 200), ("ml_engineer", 403), ("stakeholder", 403), ("approver:risk", 403)])
def test_others_do_not_manage_and_only_auditors_read(api, client, make_user, role, read):
    person = make_user(role)
    assert api(person).get("/api/v1/webhooks/").status_code == read
    assert api(person).post("/api/v1/webhooks/", WEBHOOK).status_code == 403
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/webhooks/").status_code == read


def test_the_page_shows_the_key_once(client, make_user):
    client.force_login(make_user("admin"), backend="django.contrib.auth.backends.ModelBackend")
    shown = client.post("/webhooks/", WEBHOOK | {"events": "gate.approved, gate.rejected"})
    row = Webhook.objects.get()
    assert row.events == ["gate.approved", "gate.rejected"] and "whsec_" in shown.content.decode() and shown["Cache-Control"] == "no-store"
    again = client.get(f"/webhooks/{row.id}/")
    assert "whsec_" not in again.content.decode() and "https://ci.example.org/hook" in again.content.decode()
    refused = client.post(f"/webhooks/{row.id}/change/", WEBHOOK | {"url": "http://x.example.org", "name": "typed"})
    assert refused.status_code == 400 and "typed" in refused.content.decode() and "Use https" in refused.content.decode()
    assert client.post(f"/webhooks/{row.id}/test/").status_code == 302
    assert client.post(f"/webhooks/{row.id}/rotate-key/").content.decode().count("whsec_") == 1
    assert client.post(f"/webhooks/{row.id}/end/").status_code == 302
    assert "ended" in client.get("/webhooks/").content.decode()


def test_a_refused_form_keeps_what_was_typed(client, make_user):
    client.force_login(make_user("admin"), backend="django.contrib.auth.backends.ModelBackend")
    shown = client.post("/webhooks/", {"name": "my hook", "url": "nonsense", "events": "gate.approved"})
    assert shown.status_code == 400 and "my hook" in shown.content.decode() and "https://ci.example.org" in shown.content.decode()


def test_my_notices_are_mine_alone_and_looking_makes_them_read(client, api, make_user):
    mine, other = make_user("stakeholder"), make_user("stakeholder")
    services.tell(event="gate.approved", title="Approved: <b>churn</b>", people=[mine.id], path="/gates/1/")
    client.force_login(mine, backend="django.contrib.auth.backends.ModelBackend")
    first = client.get("/notices/").content.decode()
    assert "Approved: &lt;b&gt;churn" in first and "1 new" in first and "1 new" not in client.get("/notices/").content.decode()
    assert len(api(mine).get("/api/v1/notices/").data["results"]) == 1 and api(other).get("/api/v1/notices/").data["results"] == []
    client.post("/notices/by-email/", {"wanted": "no"})
    assert api(mine).get("/api/v1/notices/by-email/").data == {"wanted": False}
    assert api(mine).put("/api/v1/notices/by-email/", {"wanted": True}).data == {"wanted": True}
