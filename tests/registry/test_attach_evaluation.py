"""Evaluations and bias audits: the schema, the figures, attaching, superseding, and what gates read of them."""

import copy
import json

import jsonschema
import pytest
from django.db import IntegrityError, connection, transaction
from scipy.stats.contingency import relative_risk

from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.core.evidence import EvidenceSubject
from apps.registry import services
from apps.registry.evidence import CHECKS
from apps.registry.models import AliasRecord, Evaluation
from apps.registry.rules import evaluations as rules
from tests.registry.world import make_version

DATA = {"name": "visits-validation", "digest": "dvali"}
GOOD = {
    "kind": "evaluation",
    "name": "held out",
    "dataset": DATA,
    "metrics": [
        {"name": "recall", "successes": 80, "n": 100, "better": "higher"},
        {"name": "mae", "value": 2.0, "standard_error": 0.1, "better": "lower"},
    ],
}
AUDIT = {
    "kind": "bias_audit",
    "name": "by sex",
    "groups": [
        {"attribute": "sex", "group": "male", "n": 200, "selected": 100},
        {"attribute": "sex", "group": "female", "n": 100, "selected": 35, "metrics": [{"name": "recall", "successes": 9, "n": 10}]},
    ],
}
AT = "/api/v1/models/care-outreach/versions/1/evaluations/"


def test_intervals_of_shares_are_wilsons():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    assert rules.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert rules.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert rules.wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert rules.wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert rules.wilson(20, 20)[1] == 1.0


def test_ratios_of_shares_have_katzs_interval():
    ratio, low, high = rules.ratio_of_shares(35, 100, 100, 200)
    peer = relative_risk(35, 100, 100, 200)
    assert ratio == pytest.approx(peer.relative_risk) and (low, high) == pytest.approx(tuple(peer.confidence_interval(0.95)))
    assert rules.ratio_of_shares(0, 10, 5, 10)[:2] == (0.0, 0.0) and rules.ratio_of_shares(3, 10, 0, 10)[0] is None


def test_the_group_selected_most_is_the_reference_unless_one_is_named():
    rows = rules.figures_of(AUDIT)["groups"]
    assert {r["reference"] for r in rows} == {"male"} and rows[1]["ratio"] == pytest.approx(0.7) and rows[0]["ratio"] is None
    other = rules.figures_of({**AUDIT, "reference": {"sex": "female"}})
    assert other["groups"][0]["ratio"] == pytest.approx(1 / 0.7) and other["worst"]["least"] == pytest.approx(0.7)


@pytest.mark.parametrize("document", [GOOD, AUDIT])
def test_what_the_portal_takes_its_published_schema_takes_too(document):
    jsonschema.Draft202012Validator.check_schema(rules.SCHEMA)
    jsonschema.validate(document, rules.SCHEMA)
    assert rules.checked(copy.deepcopy(document)) == document


def changed(document, path, value):
    made = copy.deepcopy(document)
    spot = made
    for step in path[:-1]:
        spot = spot[step]
    spot[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "document"), ({"kind": "evaluation"}, "name"), (changed(GOOD, ["kind"], "x"), "kind"), (changed(GOOD, ["colour"], 1), "colour"),
        (changed(GOOD, ["metrics", 0, "successes"], 101), "metrics[0].successes"), (changed(GOOD, ["metrics", 0, "n"], 0), "metrics[0].n"),
        (changed(GOOD, ["metrics", 0, "n"], True), "metrics[0].n"), (changed(GOOD, ["metrics", 0, "value"], 1.0), "metrics[0].value"),
        (changed(GOOD, ["metrics", 1, "low"], 1.0), "metrics[1].high"), (changed(GOOD, ["metrics", 1, "value"], float("nan")), "metrics[1].value"),
        (changed(GOOD, ["metrics", 1, "name"], "recall"), "metrics"), (changed(GOOD, ["metrics"], []), "metrics"),
        (changed(AUDIT, ["groups", 0, "selected"], 201), "groups[0].selected"), (changed(AUDIT, ["groups"], AUDIT["groups"][:1]), "groups"),
        (changed(AUDIT, ["reference"], {"sex": "none"}), "reference.sex"), (changed(GOOD, ["name"], "a\x00b"), "name"), (changed(GOOD, ["dataset"], {"name": "x"}), "dataset.digest"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_document_is_named(document, field):
    with pytest.raises(Invalid) as refused:
        rules.checked(document)
    assert list(refused.value.errors) == [field]


def test_shares_of_mlflow_evaluate_get_intervals():
    metrics = {
        "val_true_positives": 40.0,
        "val_true_negatives": 50.0,
        "val_false_positives": 5.0,
        "val_false_negatives": 5.0,
        "val_example_count": 100.0,
        "val_recall_score": 0.888,
        "val_log_loss": 0.3,
        "train_recall": 0.9,
        "val_roc_auc": None,
    }
    made = rules.from_run(metrics, prefix="val_", name="held out")
    rows = {m["name"]: m for m in made["metrics"]}
    assert (
        rows["recall_score"] == {"name": "recall_score", "successes": 40, "n": 45, "better": "higher"}
        and rows["accuracy_score"]["n"] == 100
    )
    assert (
        rows["log_loss"] == {"name": "log_loss", "value": 0.3, "n": 100, "better": "lower"}
        and "train_recall" not in rows
        and "true_positives" not in rows
    )
    assert rules.checked(made) == made
    with pytest.raises(Invalid, match="prefix"):
        rules.from_run(metrics, prefix="test_", name="x")


@pytest.fixture
def elena(db, make_user, actor_of):
    """An engineer."""
    return actor_of(make_user("ml_engineer"))


@pytest.fixture
def version(db):
    """A ready version."""
    return make_version()


def test_attaching_computes_digests_and_tells_the_trail(elena, version, events):
    row = services.attach_evaluation(actor=elena, version_id=version.id, document=GOOD)
    assert row.digest.startswith("sha256:") and row.artifact_digest == version.artifact_digest and row.dataset.name == "visits-validation"
    assert row.figures["metrics"][0]["low"] == pytest.approx(0.7112, abs=1e-4) and row.figures["metrics"][1]["method"] == "normal"
    assert events("registry.evaluation.attached", version.label)[0].facts["after"]["digest"] == row.digest
    assert services.attach_evaluation(actor=elena, version_id=version.id, document=GOOD).id == row.id and Evaluation.objects.count() == 1


def test_a_later_one_of_the_same_name_takes_its_place(elena, version):
    first = services.attach_evaluation(actor=elena, version_id=version.id, document=GOOD)
    second = services.attach_evaluation(actor=elena, version_id=version.id, document={**GOOD, "note": "again"})
    first.refresh_from_db()
    assert first.superseded_by_id == second.id and second.superseded_by_id is None
    with pytest.raises(Conflict, match="attached before"):
        services.attach_evaluation(actor=elena, version_id=version.id, document=GOOD)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE registry_evaluation SET name = 'x'", "DELETE FROM registry_evaluation", "UPDATE registry_evaluation SET figures = '{}'"],
)
def test_the_database_refuses_to_change_what_is_attached(elena, version, statement):
    services.attach_evaluation(actor=elena, version_id=version.id, document=GOOD)
    with pytest.raises(IntegrityError, match="stays as it was"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_who_may_and_to_what(elena, version, make_user, actor_of):
    with pytest.raises(NotAllowed):
        services.attach_evaluation(actor=actor_of(make_user("auditor")), version_id=version.id, document=GOOD)
    with pytest.raises(NotFound):
        services.attach_evaluation(actor=actor_of(make_user("stakeholder")), version_id=version.id, document=GOOD)
    with pytest.raises(Conflict, match="fresh reading"):
        services.attach_evaluation(actor=elena, version_id=make_version(number=2, status="pending", artifact_digest="").id, document=GOOD)
    with pytest.raises(Invalid, match="dataset"):
        services.attach_evaluation(actor=elena, version_id=version.id, document={**GOOD, "dataset": {"name": "other", "digest": "d"}})


def test_the_run_itself_can_be_the_source(elena, version):
    row = services.attach_from_run(actor=elena, version_id=version.id, name="as logged")
    assert row.source == "run" and row.dataset.name == "visits-validation" and row.figures["metrics"][0]["value"] == pytest.approx(0.71)


def test_the_api(version, make_user, api):
    client = api(make_user("ml_engineer"))
    made = client.post(AT, GOOD, format="json")
    assert made.status_code == 201 and client.get(AT).json()["results"][0]["id"] == made.json()["id"]
    assert client.get(f"/api/v1/evaluations/{made.json()['id']}/").json()["document"] == GOOD
    assert list(client.post(AT, {**GOOD, "kind": "x"}, format="json").json()["errors"]) == ["kind"]
    assert list(client.post(AT, [1], format="json").json()["errors"]) == ["body"]
    assert client.post(f"{AT}from-run/", {"name": "as logged"}, format="json").status_code == 201
    assert list(client.post(f"{AT}from-run/", {"nam": "x"}, format="json").json()["errors"]) == ["nam"]
    assert client.get("/api/v1/evaluation-schema/").json() == json.loads(json.dumps(rules.SCHEMA))
    assert api(make_user("stakeholder")).get(AT).status_code == 404


def run(check, version, as_of=None, **parameters):
    return CHECKS[check].run(EvidenceSubject(usecase_id="", model_version_id=str(version.id), as_of=as_of), parameters)


def test_a_gate_holds_an_audit_against_its_bound(elena, version):
    assert run("registry.bias_within_bound", version).state == "missing"
    services.attach_evaluation(actor=elena, version_id=version.id, document=AUDIT)
    found = run("registry.bias_within_bound", version)
    assert found.state == "fail" and found.figure == pytest.approx(0.7) and found.threshold == 0.8 and "female against male" in found.found
    assert run("registry.bias_within_bound", version, least_ratio=0.7).state == "pass"
    assert run("registry.bias_within_bound", version, least_ratio=0.6, by_interval=True).state == "fail"
    assert "age" in run("registry.bias_within_bound", version, least_ratio=0.5, attributes="age").detail
    assert run("registry.bias_within_bound", version, least_ratio=0.5, least_n=150).state == "fail"


def test_a_gate_compares_with_the_version_in_production(elena, version):
    two = make_version(number=2)
    check = "registry.evaluation_not_worse"
    assert run(check, two).state == "missing"
    services.attach_evaluation(actor=elena, version_id=two.id, document=GOOD)
    assert run(check, two).state == "pass"
    AliasRecord.objects.create(model=version.model, alias="production", version=version, set_at=now())
    assert "Evaluate care-outreach/1 the same way" in run(check, two).detail
    better = changed(GOOD, ["metrics", 0, "successes"], 85)
    services.attach_evaluation(actor=elena, version_id=version.id, document=better)
    found = run(check, two)
    assert found.state == "fail" and found.figure == pytest.approx(-0.05) and "recall 0.8 against 0.85" in found.found
    assert run(check, two, margin=0.05).state == "pass" and run(check, two, metrics="mae").state == "pass"
    assert "f1" in run(check, two, metrics="f1").detail


def test_figures_on_other_data_are_not_compared(elena, version):
    two = make_version(number=2)
    AliasRecord.objects.create(model=version.model, alias="champion", version=version, set_at=now())
    for row, data in ((version, DATA), (two, {"name": "visits-training", "digest": "dtrai"})):
        services.attach_evaluation(actor=elena, version_id=row.id, document={**GOOD, "dataset": data})
    assert "same named dataset" in run("registry.evaluation_not_worse", two).detail
    assert run("registry.evaluation_not_worse", two, same_data=False).state == "pass"
