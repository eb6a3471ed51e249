"""The register of known failure modes and edge cases."""

import pytest
from django.db import IntegrityError, transaction

from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.registry import selectors, services
from apps.registry.models import FailureMode
from apps.registry.selectors import cards as reads
from tests.registry.world import make_version

pytestmark = pytest.mark.django_db
ENTRY = {"title": "Night calls", "condition": "Called after midnight", "effect": "Ranks at random", "severity": "high"}


@pytest.fixture
def elena(make_user, actor_of):
    """An engineer, where two versions are."""
    make_version(number=1), make_version(number=2)
    return actor_of(make_user("ml_engineer"))


def test_an_entry_is_written_down_and_in_the_trail(elena, events, make_user):
    owner = make_user("ml_engineer")
    row = services.record_failure_mode(actor=elena, model="care-outreach", owner_email=owner.email, **ENTRY)
    assert (row.state, row.kind, row.owner, row.revision) == ("open", "failure mode", owner, 1)
    assert events("registry.failure_mode.recorded", "care-outreach")[0].facts["after"]["title"] == "Night calls"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"title": " "}, "title"), ({"severity": "huge"}, "severity"), ({"state": "handled"}, "handling"), ({"since_version": 9}, "since_version"),
        ({"since_version": 2, "until_version": 1}, "until_version"), ({"owner_email": "no@one.org"}, "owner_email"), ({"titel": "x"}, "titel"), ({"effect": "x" * 4001}, "effect"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(elena, wrong, field):
    with pytest.raises(Invalid) as refused:
        services.record_failure_mode(actor=elena, model="care-outreach", **{**ENTRY, **wrong})
    assert list(refused.value.errors) == [field]


def test_a_change_keeps_the_rest_and_tells_before_and_after(elena, events):
    row = services.record_failure_mode(actor=elena, model="care-outreach", **ENTRY)
    changed = services.change_failure_mode(
        actor=elena, failure_id=row.id, revision=1, state="handled", handling="The desk is closed at night."
    )
    assert changed.revision == 2 and changed.title == "Night calls"
    facts = events("registry.failure_mode.changed")[0].facts
    assert facts["before"]["state"] == "open" and facts["after"]["state"] == "handled"
    assert services.change_failure_mode(actor=elena, failure_id=row.id, state="handled").revision == 2
    with pytest.raises(Conflict):
        services.change_failure_mode(actor=elena, failure_id=row.id, revision=1, title="Other")


def test_who_may(elena, make_user, actor_of):
    row = services.record_failure_mode(actor=elena, model="care-outreach", **ENTRY)
    with pytest.raises(NotAllowed):
        services.change_failure_mode(actor=actor_of(make_user("auditor")), failure_id=row.id, title="x")
    with pytest.raises(NotFound):
        services.change_failure_mode(actor=actor_of(make_user("stakeholder")), failure_id=row.id, title="x")


def test_those_that_hold_for_a_version_grave_and_open_first(elena):
    def add(title, **more):
        services.record_failure_mode(actor=elena, model="care-outreach", **{**ENTRY, "title": title, **more})

    (
        add("old", until_version=1),
        add("new", since_version=2, severity="low"),
        add("grave", severity="critical"),
        add("done", state="resolved", handling="fixed"),
    )
    model = selectors.model(elena, "care-outreach")
    assert [r.title for r in reads.in_order(reads.failure_modes(model, version=2))] == ["grave", "new", "done"]
    assert [r.title for r in reads.in_order(reads.failure_modes(model))] == ["grave", "old", "new", "done"]


def test_the_api_writes_and_changes(make_user, api):
    make_version()
    client = api(make_user("ml_engineer"))
    made = client.post("/api/v1/models/care-outreach/failure-modes/", ENTRY, format="json", headers={"Idempotency-Key": "k1"})
    assert made.status_code == 201
    again = client.post("/api/v1/models/care-outreach/failure-modes/", ENTRY, format="json", headers={"Idempotency-Key": "k1"})
    assert again.json()["id"] == made.json()["id"] and FailureMode.objects.count() == 1
    at = f"/api/v1/failure-modes/{made.json()['id']}/"
    assert client.patch(at, {"severity": "low"}, format="json").json()["severity"] == "low"
    assert list(client.patch(at, {"state": "handled"}, format="json").json()["errors"]) == ["handling"]
    assert (
        client.get(at).json()["title"] == "Night calls"
        and len(client.get("/api/v1/models/care-outreach/failure-modes/?version=1").json()["results"]) == 1
    )


def test_the_database_keeps_an_entry_whole(elena):
    row = services.record_failure_mode(actor=elena, model="care-outreach", **ENTRY)
    with pytest.raises(IntegrityError, match="handled_by_something"), transaction.atomic():
        FailureMode.objects.filter(id=row.id).update(state="handled")
