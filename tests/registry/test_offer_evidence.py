"""What gates are told about a version."""

import uuid

import pytest

from apps.core.evidence import EvidenceSubject
from apps.registry import rules, services
from apps.registry.evidence import CHECKS
from apps.registry.models import ModelVersion, RunInput

pytestmark = pytest.mark.django_db


def ask(check, row, **parameters):
    return CHECKS[f"registry.{check}"].run(EvidenceSubject(str(uuid.uuid4()), str(row.id), row.artifact_digest, "pilot"), parameters)


def test_a_good_version_passes_all_and_the_same_way_twice(ready, system):
    row = ready()
    services.save_card(actor=system, version_id=row.id, **dict.fromkeys(rules.CARD_FIELDS, "as agreed with care managers"))
    for name in ("card_complete", "evaluation_present", "lineage_complete", "digest_known"):
        result = ask(name, row)
        assert result.state == "pass", (name, result.detail)
        assert result.digest == ask(name, row).digest and result.source.startswith("/api/v1/models/")


def test_an_empty_card_field_fails_and_is_named(ready):
    result = ask("card_complete", ready())
    assert result.state == "fail" and "intended use" in result.detail and (result.figure, result.threshold) == (3.0, 7.0)


def test_changing_the_card_changes_the_evidence(ready, system):
    row = ready()
    before = ask("card_complete", row).source_digest
    services.save_card(actor=system, version_id=row.id, ethical="nobody is refused care")
    assert ask("card_complete", row).source_digest != before


def test_evaluation_needs_metrics_on_data_the_model_did_not_learn_from(ready):
    row = ready()
    assert ask("evaluation_present", row, metrics="recall").state == "pass"
    assert "precision" in ask("evaluation_present", row, metrics="recall, precision").detail
    assert ask("evaluation_present", row, least=5).state == "fail"
    RunInput.objects.filter(version=row, context="validation").delete()
    assert "mlflow.log_input" in ask("evaluation_present", row).detail
    ModelVersion.objects.filter(id=row.id).update(metrics={})
    assert ask("evaluation_present", row).state == "missing"


def test_lineage_names_every_gap(ready):
    row = ready()
    ModelVersion.objects.filter(id=row.id).update(author="", requirements="numpy\n")
    result = ask("lineage_complete", row)
    assert result.state == "fail" and "who registered it" in result.detail and "numpy" in result.detail


def test_digest_fails_when_files_changed_or_the_gate_is_about_others(ready, system):
    row = ready()
    other = CHECKS["registry.digest_known"].run(EvidenceSubject("u", str(row.id), "sha256:" + "0" * 64), {})
    assert other.state == "fail" and "Open a new gate" in other.detail
    services.mark_changed(actor=system, version_id=row.id, observed="", detail="A file is gone.")
    assert "Register a new version" in ask("digest_known", row).detail


def test_an_undigested_version_is_missing_and_no_version_at_all_too(endpoint, register):
    made = register(endpoint())
    row = ModelVersion.objects.get(model__name=made.name)
    assert ask("digest_known", row).state == "missing"
    for check in CHECKS.values():
        assert check.run(EvidenceSubject("u"), {}).state == "missing"


def test_a_policy_may_ask_for_more_of_the_card_and_for_intervals(system):
    from tests.registry.test_attach_evaluation import GOOD
    from tests.registry.world import make_version

    row = make_version()
    words = "a few plain words"
    services.save_card(actor=system, version_id=row.id, **dict.fromkeys(rules.CARD_NEEDED, words))

    def run(**parameters):
        return CHECKS["registry.card_complete"].run(EvidenceSubject(usecase_id="", model_version_id=str(row.id)), parameters)

    assert run().state == "pass" and run().threshold == 7.0
    assert "explainability" in run(parts="explainability").detail and run(parts="all").threshold == 10.0
    assert "no part of a card" in run(parts="colour").detail and run(parts="colour").state == "fail"
    assert "no interval for recall" in run(intervals=True).detail
    services.attach_evaluation(actor=system, version_id=row.id, document=GOOD)
    services.save_card(actor=system, version_id=row.id, explainability=words, hardware=words, instructions=words)
    assert run(parts="all", intervals=True).state == "pass"
