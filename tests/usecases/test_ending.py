"""What use cases offer to the gate that ends one: what comes after it, and how long its data is kept."""

import pytest

from apps.core.evidence import EvidenceSubject
from apps.registry.models import Dataset, GovernedDataset, ModelVersion, RunInput
from apps.usecases import services
from apps.usecases.evidence import CHECKS
from apps.usecases.models import UseCase, UsedModel

pytestmark = pytest.mark.django_db


def run(name, usecase, **parameters):
    return CHECKS[name].run(EvidenceSubject(usecase_id=str(usecase.id)), parameters)


@pytest.fixture
def successor(system, usecase):
    made = services.create_usecase(
        actor=system, name="Care outreach 2", problem="P.", risk_tier="high", decision_supported="Whom.", output_users="Nurses",
        owner=usecase.owner, sponsor=usecase.sponsor, currency="USD",
    )  # fmt: skip
    UseCase.objects.filter(id=made.id).update(predecessor=usecase)
    return made


def test_without_a_successor_people_attest_the_manual_process(usecase):
    result = run("usecases.successor_in_production", usecase)
    assert result.state == "pass" and "people attest the manual process" in result.found
    asked = run("usecases.successor_in_production", usecase, manual=False)
    assert asked.state == "missing" and "rebuild" in asked.detail


def test_a_successor_has_to_be_in_production(usecase, successor, move_to):
    early = run("usecases.successor_in_production", usecase)
    assert early.state == "fail" and early.found == "Care outreach 2 is at proposal"
    move_to(successor, "pilot")
    assert run("usecases.successor_in_production", usecase).state == "fail"
    assert early.digest != run("usecases.successor_in_production", usecase).digest


def test_a_successor_in_production_takes_over(usecase, successor, move_to):
    move_to(successor, "production")
    result = run("usecases.successor_in_production", usecase, manual=False)
    assert result.state == "pass" and result.found.startswith("Care outreach 2, in production since 20")
    assert result.source == f"/usecases/{successor.slug}/"
    assert run("usecases.successor_in_production", usecase, manual=False).digest == result.digest


def test_a_stopped_successor_leaves_it_to_people_again(usecase, successor, system):
    services.stop(actor=system, usecase_id=successor.id, lesson="It did not work.")
    result = run("usecases.successor_in_production", usecase)
    assert result.state == "pass" and "is at stopped" in result.found
    assert run("usecases.successor_in_production", usecase, manual=False).state == "fail"


def reads(model, number, *names):
    version = ModelVersion.objects.create(model=model, version=number, status="pending")
    for name in names:
        dataset, _ = Dataset.objects.get_or_create(name=name, digest=f"d-{name}")
        RunInput.objects.create(version=version, dataset=dataset, context="training")


def test_without_a_model_there_is_no_data_here(usecase):
    result = run("usecases.retention_set", usecase)
    assert result.state == "pass" and "uses no model" in result.found


def test_every_dataset_of_every_version_says_how_long_it_is_kept(usecase, model):
    UsedModel.objects.create(usecase=usecase, model=model)
    unknown = run("usecases.retention_set", usecase)
    assert unknown.state == "missing" and "OpenLineage" in unknown.detail
    reads(model, 1, "claims")
    reads(model, 2, "claims", "visits")
    GovernedDataset.objects.create(name="claims", retention="7 years")
    GovernedDataset.objects.create(name="visits", retention="")
    result = run("usecases.retention_set", usecase)
    assert (result.state, result.found, result.figure, result.threshold) == ("fail", "1 of 2 datasets", 1.0, 2.0) and "visits" in result.detail
    GovernedDataset.objects.filter(name="visits").update(retention="until 2027")
    kept = run("usecases.retention_set", usecase)
    assert (kept.state, kept.found) == ("pass", "2 of 2 datasets") and kept.source_digest != result.source_digest
    GovernedDataset.objects.filter(name="visits").update(retention="for ever")
    assert run("usecases.retention_set", usecase).source_digest != kept.source_digest, "another promise is a change"


def test_other_peoples_data_is_no_matter(usecase, model):
    reads(model, 1, "claims")
    assert run("usecases.retention_set", usecase).state == "pass"
