"""What deployments offer to the gate that ends a use case: nothing of it runs, and nobody calls it."""

import uuid
from datetime import timedelta

import pytest

from apps.core import clock
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Invalid
from apps.core.evidence import EvidenceSubject
from apps.deployments import services
from apps.deployments.evidence import CHECKS
from apps.deployments.models import Deployment, GatewayState, PhaseTally
from apps.usecases.models import UseCase
from tests.deployments.world import later

pytestmark = pytest.mark.django_db


def run(name, usecase, as_of=None, **parameters):
    return CHECKS[f"deployments.{name}"].run(EvidenceSubject(usecase_id=str(usecase.id), as_of=as_of), parameters)


def test_without_an_endpoint_nothing_serves_and_nobody_calls(usecase):
    assert (run("traffic_ended", usecase).state, run("traffic_ended", usecase).found) == ("pass", "it has no endpoint")
    assert (run("callers_gone", usecase).state, run("callers_gone", usecase).found) == ("pass", "no key was ever issued")


def test_what_runs_has_to_be_stopped_and_reported_so(stage, usecase, elena):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    stage.agent.report(deployment, "ready")
    running = run("traffic_ended", usecase)
    assert running.state == "fail" and "1 runs: care-outreach/1 on " in running.found and running.figure == 1.0
    services.stop_deployment(actor=elena, deployment_id=deployment.id, reason="The use case ends.")
    stopping = run("traffic_ended", usecase)
    assert stopping.state == "fail" and "being stopped" in stopping.found
    stage.reconcile(deployment)
    stage.agent.report(deployment, "stopped")
    ended = run("traffic_ended", usecase)
    assert (ended.state, ended.found, ended.figure) == ("pass", "nothing of its own runs on 1 endpoint", 0.0)
    assert run("traffic_ended", usecase).digest == ended.digest
    assert len({running.source_digest, stopping.source_digest, ended.source_digest}) == 3


def test_an_engine_that_may_still_answer_is_being_stopped(stage, usecase, elena):
    def found():
        result = run("traffic_ended", usecase)
        return result.state, "being stopped" in result.found

    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    services.stop_deployment(actor=elena, deployment_id=deployment.id, reason="The use case ends.")
    assert found() == ("fail", True), "it was told to start and has not said a word"
    assert stage.reconcile(deployment).kind == "stop" and found() == ("fail", True), "nor to the order to stop"
    stage.agent.report(deployment, "stopped")
    assert found() == ("pass", False)
    Deployment.objects.update(observed="lost")
    assert found() == ("fail", True), "nobody has seen it stop"
    assert stage.reconcile(deployment).kind == "stop" and found() == ("fail", True)
    stage.agent.report(deployment, "stopped")
    assert found() == ("pass", False)
    stage.agent.states[str(deployment.id)]["state"] = "ready"
    with clock.fixed(later(10)):
        stage.agent.heartbeat()
        assert found() == ("fail", True), "its host names a living engine"


def test_an_endpoint_may_answer_as_the_successor_does(stage, usecase, system, elena, engineer, endpoints, versions):
    from apps.usecases import services as usecases

    mine = stage.request(1).to_deployment
    successor = usecases.create_usecase(actor=elena, name="Next", problem="P.", risk_tier="high", sponsor=engineer, currency="USD")
    theirs = services.create_endpoint(actor=elena, usecase_id=successor.id, environment="production")
    Deployment.objects.create(
        endpoint=theirs, model_version=mine.model_version, model_version_label=mine.model_version_label, artifact_digest=mine.artifact_digest,
        decision_id=uuid.uuid4(), host=mine.host, role="live",
    )  # fmt: skip
    assert run("traffic_ended", usecase).state == "fail", "no successor of it"
    UseCase.objects.filter(id=successor.id).update(predecessor=usecase)
    result = run("traffic_ended", usecase)
    assert result.state == "pass" and "1 answers as the successor does" in result.found
    assert run("traffic_ended", usecase, successor=False).state == "fail"


@pytest.fixture
def key(endpoints, elena):
    """A key of 40 days ago; since then a gateway counts every endpoint."""
    with clock.fixed(later(-40 * 86400)):
        made, _ = services.issue_key(actor=elena, endpoint_id=endpoints().id, name="Nurses' desk")
        gateway_tells("gw")
    gateway_asks("gw")
    return made


def gateway_asks(name):
    services.confirm_routing(actor=Actor.system(name), version=0)


def gateway_tells(name, counts="all", **more):
    gateway_asks(name)
    services.take_tally(actor=Actor.system(name), run=uuid.uuid4(), rows=[], counts=counts, **more)


def called(key, *, days_ago=0.0, admitted=3, refused=0):
    hour = (now() - timedelta(days=days_ago)).replace(minute=0, second=0, microsecond=0)
    PhaseTally.objects.create(endpoint=key.endpoint, run=uuid.uuid4(), hour=hour, key_prefix=key.prefix, admitted=admitted, refused=refused)


def test_a_key_that_was_used_lately_is_named_with_the_day(usecase, key):
    assert run("callers_gone", usecase).state == "pass"
    called(key, days_ago=3)
    result = run("callers_gone", usecase)
    assert result.state == "fail" and result.found == f"1 in use: Nurses' desk on {key.endpoint.slug}, last on {now() - timedelta(days=3):%Y-%m-%d}"
    assert run("callers_gone", usecase, days=2).state == "pass"
    called(key, days_ago=1)
    assert run("callers_gone", usecase).source_digest == result.source_digest, "more calls of the same key are no change"


def test_a_request_that_was_turned_away_is_a_caller_too(usecase, key):
    called(key, admitted=0, refused=1)
    assert run("callers_gone", usecase).state == "fail"


def test_a_revoked_key_is_nobodys(usecase, key, elena):
    called(key)
    services.revoke_key(actor=elena, key_id=key.id)
    result = run("callers_gone", usecase)
    assert (result.state, result.found) == ("pass", "1 of 1 keys revoked")


def test_a_call_after_the_evidence_was_frozen_changes_it(usecase, key):
    frozen = now()
    before = run("callers_gone", usecase, as_of=frozen)
    with clock.fixed(later(timedelta(days=2).total_seconds())):
        assert run("callers_gone", usecase, as_of=frozen).digest == before.digest
        called(key)
        assert run("callers_gone", usecase, as_of=frozen).state == "fail"


def test_what_nobody_counted_is_not_called_unused(usecase, key):
    GatewayState.objects.update(counts_since=None)
    result = run("callers_gone", usecase)
    assert result.state == "missing" and result.found == f"1 not counted for so long: Nurses' desk on {key.endpoint.slug}, not counted"
    assert "run the newest gateways" in result.detail
    gateway_tells("gw")
    begun = run("callers_gone", usecase)
    moment = GatewayState.objects.get().counts_since
    assert begun.state == "missing" and f"counted since {moment:%Y-%m-%d}" in begun.found
    assert f"after {moment + timedelta(days=30):%Y-%m-%d %H:%M} UTC" in begun.detail
    with clock.fixed(later(31 * 86400)):
        gateway_tells("gw")
        assert run("callers_gone", usecase).state == "pass"
        assert run("callers_gone", usecase, days=60).state == "missing"
        gateway_tells("gw", counts=None)
        assert run("callers_gone", usecase).state == "missing", "an older gateway runs in its place"
    GatewayState.objects.all().delete()
    assert run("callers_gone", usecase).state == "missing"


def test_a_revoked_key_needs_no_count_and_one_in_use_is_told_first(usecase, key, elena):
    GatewayState.objects.update(counts_since=None)
    called(key)
    assert run("callers_gone", usecase).state == "fail"
    services.revoke_key(actor=elena, key_id=key.id)
    assert run("callers_gone", usecase).state == "pass"


def test_a_key_younger_than_the_days_has_not_been_unused_for_so_long(usecase, key, elena):
    young, _ = services.issue_key(actor=elena, endpoint_id=key.endpoint_id, name="Billing")
    result = run("callers_gone", usecase)
    assert result.state == "missing" and result.found.endswith(f"Billing on {key.endpoint.slug}, counted since {young.created_at:%Y-%m-%d}")
    assert "Nurses" not in result.found


def test_every_gateway_has_to_count_and_a_new_one_has_from_its_first_request(usecase, key):
    gateway_tells("new")
    assert run("callers_gone", usecase).state == "pass"
    gateway_asks("older")
    assert run("callers_gone", usecase).state == "missing"
    with clock.fixed(later(3600)):
        gateway_tells("older")
        assert run("callers_gone", usecase).state == "missing", "what it let in before it counted, nobody knows"


def test_hours_that_a_gateway_could_not_deliver_are_not_counted(usecase, key):
    lost = (now() - timedelta(days=4)).replace(minute=0, second=0, microsecond=0)
    gateway_tells("gw", lost_before=lost.isoformat())
    result = run("callers_gone", usecase)
    assert result.state == "missing" and f"counted since {lost:%Y-%m-%d}" in result.found
    assert run("callers_gone", usecase, days=3).state == "pass"
    for wrong in ("then", 7, "2026-11-28T10:00:00"):
        with pytest.raises(Invalid, match="lost_before"):
            gateway_tells("gw", lost_before=wrong)
