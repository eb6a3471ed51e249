"""The checks that use cases offer to gates."""

import pytest

from apps.core.evidence import EvidenceSubject
from apps.usecases import services
from apps.usecases.evidence import CHECKS

pytestmark = pytest.mark.django_db


def run(name, usecase, **parameters):
    return CHECKS[name].run(EvidenceSubject(usecase_id=str(usecase.id)), parameters)


def test_complete_names_what_is_not_there_yet(usecase, owner, actor_of):
    result = run("usecases.complete", usecase)
    assert (result.state, result.found) == ("fail", "not there: integration points")
    services.add_integration(actor=actor_of(owner), usecase_id=usecase.id, name="Register", direction="in")
    better = run("usecases.complete", usecase)
    assert better.state == "pass" and better.source_digest != result.source_digest
    assert run("usecases.complete", usecase).digest == better.digest, "asked again, it says the same"
    assert run("usecases.complete", usecase, integrations=2).state == "fail"


def test_complete_asks_for_a_sponsor(usecase, owner, actor_of):
    services.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, sponsor=None, decision_supported="")
    assert "sponsor" in run("usecases.complete", usecase).detail and "decision supported" in run("usecases.complete", usecase).detail


def test_requirements_are_missing_then_incomplete_then_there(usecase, owner, actor_of):
    assert run("usecases.requirements", usecase).state == "missing"
    services.set_requirements(actor=actor_of(owner), usecase_id=usecase.id, latency_p99_ms=100)
    assert run("usecases.requirements", usecase).state == "fail"
    services.set_requirements(
        actor=actor_of(owner), usecase_id=usecase.id, availability_pct=99.5, freshness_hours=24, concurrent_users=40, projected_rps=10
    )
    result = run("usecases.requirements", usecase)
    assert (result.state, result.found) == ("pass", "p99 100 ms at 10 requests/s, 10x at peak")
