"""Whether the evidence of an open gate has changed since its request is seen from a list, too."""

import pytest

from apps.approvals import selectors, services
from apps.approvals.models import EvidenceWatch, Gate, Signature
from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db(transaction=True)


def change(usecase, owner, actor_of):
    """What is signed says who the owner is of, in which risk tier, and whether it is described."""
    usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, decision_supported="")


def test_a_changed_source_is_counted_until_the_evidence_is_frozen_again(poc_gate, usecase, owner, engineer, business, system, actor_of):
    assert services.watch_evidence(actor=system) == 0
    assert EvidenceWatch.objects.get().changes == 0 and EvidenceWatch.objects.get().changed_at is None
    change(usecase, owner, actor_of)
    assert services.watch_evidence(actor=system) == 1
    seen = EvidenceWatch.objects.get()
    assert seen.changes == 1 and seen.first == "Problem, decision, users, sponsor, owner and integration points are written down"
    assert services.watch_evidence(actor=system) == 1
    assert EvidenceWatch.objects.get().changed_at == seen.changed_at, "since when, not when last looked"
    usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, decision_supported="Whom the nurses' desk calls.")
    services.request_gate(actor=actor_of(engineer), gate_id=poc_gate.id)
    assert EvidenceWatch.objects.get().changes == 0


def test_whoever_opens_the_gate_brings_the_lists_up_to_date(poc_gate, usecase, owner, business, actor_of):
    services.look(actor=actor_of(business), gate_id=poc_gate.id)
    assert not EvidenceWatch.objects.exists(), "nothing to say, nothing written"
    change(usecase, owner, actor_of)
    services.look(actor=actor_of(business), gate_id=poc_gate.id)
    assert EvidenceWatch.objects.get().changes == 1


def test_it_is_counted_in_the_inbox_with_the_way_there_and_over_rest(poc_gate, usecase, owner, business, system, actor_of, client, api):
    client.force_login(business)
    assert "has changed since" not in client.get("/inbox/").content.decode()
    change(usecase, owner, actor_of)
    services.watch_evidence(actor=system)
    page = " ".join(client.get("/inbox/").content.decode().split())
    assert "Of 1 gate the evidence has changed since the request." in page
    assert f'<a href="/gates/{poc_gate.id}/#changes">Evidence changed since the request: 1</a>' in page
    (row,) = api(business).get("/api/v1/gates/?waiting_on=me").json()["results"]
    assert row["evidence_changes"]["count"] == 1 and row["evidence_changes"]["since"] and row["evidence_changes"]["checked_at"]
    assert api(business).get(f"/api/v1/gates/{poc_gate.id}/").json()["evidence_changes"]["count"] == 1


def test_it_voids_and_decides_nothing(poc_gate, usecase, owner, system, actor_of):
    change(usecase, owner, actor_of)
    services.watch_evidence(actor=system)
    poc_gate.refresh_from_db()
    assert poc_gate.state == Gate.State.OPEN and not Signature.objects.exists()


def test_those_not_looked_at_for_longest_come_first_and_decided_ones_never(poc_gate, usecase, business, sign, system, actor_of):
    assert services.watch_evidence(actor=system, most=0) == 0 and not EvidenceWatch.objects.exists()
    sign(poc_gate, business, "business")
    services.watch_evidence(actor=system)
    assert not EvidenceWatch.objects.exists()
    assert selectors.gate(actor_of(business), poc_gate.id).state == "approved"


def test_one_that_cannot_be_evaluated_stops_no_other(poc_gate, usecase, owner, system, actor_of, monkeypatch):
    from apps.approvals import documents

    change(usecase, owner, actor_of)
    whole = documents.live
    with monkeypatch.context() as broken:
        broken.setattr(documents, "live", lambda gate: whole(None))
        assert services.watch_evidence(actor=system) == 0
    assert services.watch_evidence(actor=system) == 1
