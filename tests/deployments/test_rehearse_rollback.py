"""A rollback for practice really moves traffic, or really restarts, and its seconds become evidence."""

from datetime import timedelta

import pytest

from apps.core import clock
from apps.core.errors import Conflict
from apps.core.evidence import EvidenceSubject
from apps.deployments import services
from apps.deployments.evidence import CHECKS
from apps.deployments.models import Deployment, RollbackRehearsal
from tests.deployments.world import DIGESTS, actions, later

pytestmark = pytest.mark.django_db


def weights(endpoint):
    return [d.weight for d in Deployment.objects.filter(endpoint=endpoint).order_by("id")]


def ask(usecase, digest=DIGESTS[1], **parameters):
    return CHECKS["deployments.rollback_rehearsed"].run(
        EvidenceSubject(usecase_id=str(usecase.id), artifact_digest=digest, environment="production"), parameters
    )


def test_with_another_warm_version_traffic_goes_there_and_back_and_the_way_back_is_measured(stage, elena, usecase):
    stage.live(1)
    endpoint = stage.live(2).endpoint
    stage.gateway_takes_up()
    began = clock.now()
    with clock.fixed(began):
        rehearsal = services.rehearse_rollback(actor=elena, endpoint_id=endpoint.id)
    assert rehearsal.kind == "shift" and weights(endpoint) == [100, 0]
    stage.advance(endpoint)
    assert weights(endpoint) == [100, 0], "the gateway has not taken it up yet"
    stage.gateway_takes_up()
    with clock.fixed(began + timedelta(seconds=10)):
        stage.advance(endpoint)
    assert weights(endpoint) == [0, 100]
    with clock.fixed(began + timedelta(seconds=10.8)):
        stage.gateway_takes_up()
        stage.advance(endpoint)
    rehearsal.refresh_from_db()
    assert (rehearsal.ok, rehearsal.seconds, rehearsal.phase) == (True, pytest.approx(0.8), "done")
    assert actions()[-1] == "deployments.rehearsal.finished"
    found = ask(usecase, DIGESTS[2])
    assert found.state == "pass" and found.figure == pytest.approx(0.8) and found.source == f"/endpoints/{endpoint.slug}/"
    assert ask(usecase, DIGESTS[1]).state == "missing"
    assert ask(usecase, DIGESTS[2], restart=False).state == "pass"


def test_with_one_version_its_engine_is_stopped_and_started_from_its_decision(stage, elena, usecase):
    deployment = stage.live(1)
    endpoint = deployment.endpoint
    stage.gateway_takes_up()
    began = clock.now()
    with clock.fixed(began):
        rehearsal = services.rehearse_rollback(actor=elena, endpoint_id=endpoint.id)
        assert rehearsal.kind == "restart"
        assert stage.reconcile(deployment).kind == "stop"
        stage.agent.report(deployment, "stopped")
    with clock.fixed(began + timedelta(seconds=2)):
        stage.advance(endpoint)
        assert stage.reconcile(deployment).kind == "start"
        stage.agent.report(deployment, "ready")
        stage.advance(endpoint)
    with clock.fixed(began + timedelta(seconds=5)):
        stage.gateway_takes_up()
        stage.advance(endpoint)
    rehearsal.refresh_from_db()
    deployment.refresh_from_db()
    assert (rehearsal.ok, rehearsal.seconds) == (True, pytest.approx(5.0))
    assert (deployment.weight, deployment.role, deployment.engine_starts) == (100, "live", 2)
    assert ask(usecase).state == "pass"
    assert ask(usecase, max_seconds=4.0).state == "fail"
    assert "a restart, because no other version was there" in ask(usecase).found and "no other version" in rehearsal.detail
    refused = ask(usecase, restart=False)
    assert refused.state == "fail" and "Deploy a second version" in refused.detail


def test_the_evidence_is_the_same_when_asked_again(stage, elena, usecase):
    test_with_another_warm_version_traffic_goes_there_and_back_and_the_way_back_is_measured(stage, elena, usecase)
    first = ask(usecase, DIGESTS[2])
    with clock.fixed(later(3600)):
        assert ask(usecase, DIGESTS[2]).digest == first.digest


def test_one_that_does_not_end_puts_everything_back_and_fails(stage, elena, usecase):
    stage.live(1)
    endpoint = stage.live(2).endpoint
    rehearsal = services.rehearse_rollback(actor=elena, endpoint_id=endpoint.id)
    with clock.fixed(later(200)):
        stage.advance(endpoint)
    rehearsal.refresh_from_db()
    assert rehearsal.ok is False and weights(endpoint) == [0, 100]
    assert ask(usecase, DIGESTS[2]).state == "fail"


def test_production_is_not_for_practice(stage, elena):
    endpoint = stage.live(1, "production").endpoint
    with pytest.raises(Conflict, match="pilot"):
        services.rehearse_rollback(actor=elena, endpoint_id=endpoint.id)


def test_two_at_once_are_refused_and_so_is_one_during_a_rollout(stage, elena):
    endpoint = stage.live(1).endpoint
    services.rehearse_rollback(actor=elena, endpoint_id=endpoint.id)
    with pytest.raises(Conflict, match="under way"):
        services.rehearse_rollback(actor=elena, endpoint_id=endpoint.id)
    with pytest.raises(Conflict, match="rehearsed"):
        stage.request(2)


def test_without_a_live_deployment_there_is_nothing_to_rehearse(stage, elena, endpoints, usecase):
    with pytest.raises(Conflict, match="Deploy one first"):
        services.rehearse_rollback(actor=elena, endpoint_id=endpoints().id)
    assert ask(usecase).state == "missing" and not RollbackRehearsal.objects.exists()


def test_a_restart_that_does_not_end_leaves_the_version_wanted_again(stage, elena):
    deployment = stage.live(1)
    rehearsal = services.rehearse_rollback(actor=elena, endpoint_id=deployment.endpoint_id)
    with clock.fixed(later(200)):
        stage.advance(deployment.endpoint)
    rehearsal.refresh_from_db()
    deployment.refresh_from_db()
    assert rehearsal.ok is False and (deployment.desired, deployment.weight, deployment.role) == ("running", 100, "live")
