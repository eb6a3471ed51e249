"""Incidents hold decisions while they are open; people open and close them too."""

import pytest

from apps.core.errors import Invalid, NotAllowed
from apps.core.evidence import EvidenceSubject
from apps.decisions import selectors as decisions
from apps.monitoring import services
from apps.monitoring.evidence import CHECKS
from apps.monitoring.models import Incident
from tests.deployments.world import DIGESTS, actions, messages

pytestmark = pytest.mark.django_db


def opened(actor, endpoint, **changed):
    given = {"severity": "high", "title": "Nurses complain", "detail": "Every call goes to members under 20."} | changed
    return services.open_incident(actor=actor, endpoint_id=endpoint.id, **given)


def ask(usecase, check="monitoring.no_open_incident", **parameters):
    subject = EvidenceSubject(usecase_id=str(usecase.id), artifact_digest=DIGESTS[1], environment="production")
    return CHECKS[check].run(subject, parameters)


def test_a_person_opens_one_and_closing_it_lifts_the_hold(stage, elena, usecase):
    deployment = stage.live(1)
    incident = opened(elena, deployment.endpoint)
    assert not decisions.is_live(deployment.decision_id) and ask(usecase).state == "fail"
    closed = services.close_incident(actor=elena, incident_id=incident.id, resolution="The join was wrong; mended.")
    assert closed.closed_by == "Elena Engineer" and decisions.is_live(deployment.decision_id) and ask(usecase).state == "pass"
    assert services.close_incident(actor=elena, incident_id=incident.id, resolution="Again.").resolution == "The join was wrong; mended."
    assert actions().count("monitoring.incident.closed") == 1
    assert messages("deployments.reconcile")[-1] == {"deployment_id": str(deployment.id)}


def test_two_incidents_hold_until_both_are_closed(stage, elena):
    deployment = stage.live(1)
    first, second = opened(elena, deployment.endpoint), opened(elena, deployment.endpoint, title="Another")
    services.close_incident(actor=elena, incident_id=first.id, resolution="Done.")
    assert not decisions.is_live(deployment.decision_id)
    services.close_incident(actor=elena, incident_id=second.id, resolution="Done.")
    assert decisions.is_live(deployment.decision_id)


def test_one_without_a_hold_leaves_the_decision_alone(stage, elena):
    deployment = stage.live(1)
    assert opened(elena, deployment.endpoint, hold=False).hold_id is None and decisions.is_live(deployment.decision_id)


@pytest.mark.parametrize(("name", "value"), [("severity", "awful"), ("title", " "), ("detail", "")])
def test_what_is_missing_is_named(stage, elena, name, value):
    endpoint = stage.live(1).endpoint
    with pytest.raises(Invalid) as refusal:
        opened(elena, endpoint, **{name: value})
    assert name in refusal.value.errors and not Incident.objects.exists()


def test_closing_needs_words_and_an_engineer_of_the_use_case(stage, elena, usecase, make_user, actor_of):
    from apps.usecases import services as usecases

    incident = opened(elena, stage.live(1).endpoint)
    with pytest.raises(Invalid, match="resolution"):
        services.close_incident(actor=elena, incident_id=incident.id, resolution=" ")
    reader, changer = make_user("ml_engineer"), make_user("stakeholder")
    usecases.give_access(actor=elena, usecase_id=usecase.id, user=reader, level="view")
    usecases.give_access(actor=elena, usecase_id=usecase.id, user=changer, level="change")
    for user in (reader, changer):
        with pytest.raises(NotAllowed):
            services.close_incident(actor=actor_of(user), incident_id=incident.id, resolution="Done.")


def test_over_rest(api, engineer, make_user, stage):
    endpoint = stage.live(1).endpoint
    client = api(engineer)
    body = {"endpoint": endpoint.slug, "severity": "high", "title": "Nurses complain", "detail": "Wrong members."}
    made = client.post("/api/v1/incidents/", body)
    assert made.status_code == 201 and made.json()["deployment"] == "care-outreach/1" and made.json()["hold_id"]
    assert len(client.get(f"/api/v1/incidents/?open=true&endpoint={endpoint.slug}").json()["results"]) == 1
    assert api(make_user("ml_engineer")).get(f"/api/v1/incidents/{made.json()['id']}/").status_code == 404
    assert client.post(f"/api/v1/incidents/{made.json()['id']}/close/", {}).status_code == 400
    closed = client.post(f"/api/v1/incidents/{made.json()['id']}/close/", {"resolution": "Mended."})
    assert closed.status_code == 200 and closed.json()["closed_at"]
    assert client.get("/api/v1/incidents/?open=true").json()["results"] == []


def test_a_drift_reference_is_evidence_when_it_names_every_input(stage, elena, usecase, versions):
    endpoint = stage.live(1).endpoint
    subject = EvidenceSubject(
        usecase_id=str(usecase.id), model_version_id=str(versions(1).id), artifact_digest=DIGESTS[1], environment="production"
    )
    check = CHECKS["monitoring.drift_reference"]
    assert check.run(subject, {}).state == "missing"
    rows = [{"age": float(i), "visits": float(i % 5)} for i in range(500)]
    make = lambda given: services.create_monitor(  # noqa: E731
        actor=elena, endpoint_id=endpoint.id, kind="drift", reference={"rows": given, "source": "validation rows"}
    )
    make([{"age": r["age"]} for r in rows])
    assert "visits" in check.run(subject, {}).detail
    make(rows)
    found = check.run(subject, {})
    assert found.state == "pass" and found.figure == 500 and "validation rows" in found.found
    assert check.run(subject, {"min_rows": 501}).state == "fail"
    assert check.run(subject, {}).digest == found.digest
