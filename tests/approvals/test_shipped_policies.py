"""The policies that ship, from proposal to production and on to a second version, with every check run on real rows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.core.management import call_command

from apps.approvals import selectors, services
from apps.core.clock import now
from apps.core.errors import Conflict, StaleEvidence
from apps.decisions import selectors as decisions
from apps.kpis import services as kpis
from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 1, tzinfo=UTC)
CARD = "Enough words to say what this is about."


@pytest.fixture
def shipped(db):
    call_command("load_policies", verbosity=0)


def document_version(version, **changed):
    """What registering through the portal leaves behind: metrics, datasets, signature, pinned requirements, a card."""
    from apps.registry import rules
    from apps.registry.models import Dataset, ModelCard, ModelVersion, RunInput

    ModelVersion.objects.filter(id=version.id).update(
        metrics={"recall": 0.8, "cost": 7.0}, requirements="scikit-learn==1.9.0\n", run_name="run", author="Emil Engineer",
        signature={"inputs": [{"name": "age", "type": "double"}, {"name": "visits", "type": "double"}], "outputs": []}, **changed,
    )  # fmt: skip
    for context in ("training", "validation"):
        dataset, _ = Dataset.objects.get_or_create(name=context, digest=f"d-{context}")
        RunInput.objects.create(version=version, dataset=dataset, context=context)
    ModelCard.objects.create(version=version, **dict.fromkeys(rules.CARD_FIELDS, CARD))


def rows(mean, start, seed, version=""):
    costs = np.random.default_rng(seed).normal(mean, 0.5, 20).round(4)
    return [
        {
            "period_start": (START + timedelta(days=start + i)).isoformat(), "period_end": (START + timedelta(days=start + i + 1)).isoformat(),
            "numerator": float(c) * 100, "denominator": 100, "n": 100, "version_label": version, "external_id": f"monitor:{version}-{start + i}", "source": "portal: Cost",
        }
        for i, c in enumerate(costs)
    ]  # fmt: skip


def watch(kpi, system, *found):
    """What a monitor of the portal records of a version's own traffic."""
    kpis.record_measurements(actor=system, kpi_id=kpi.id, rows=rows(*found), measured_from="labelled predictions")


def evaluate(actor, version, *, recall):
    """Attach an evaluation of 100 events on the validation rows, as a pipeline does."""
    from apps.registry import services as registry

    document = {
        "kind": "evaluation", "name": "validation", "dataset": {"name": "validation", "digest": "d-validation"},
        "metrics": [{"name": "recall", "successes": recall, "n": 100, "better": "higher"}],
    }  # fmt: skip
    registry.attach_evaluation(actor=actor, version_id=version.id, document=document)


def proven(usecase, version, live_on_pilot):
    """A load test, a rehearsal and a drift monitor of the version on the pilot endpoint."""
    from apps.deployments.models import RollbackRehearsal
    from apps.loadtests.models import LoadRun
    from apps.monitoring.models import Monitor

    moment = now()
    LoadRun.objects.create(
        deployment=live_on_pilot, model_version_label=version.label, artifact_digest=version.artifact_digest, multiplier=10, projected_rps=10,
        rate_rps=100, duration_s=6, seed=1, state="done", error_share=0.0, p50_ms=3, p99_ms=41, throughput_rps=99, latency_target_ms=100,
        passed=True, started_at=moment, finished_at=moment, requested_by="tests",
    )  # fmt: skip
    RollbackRehearsal.objects.create(
        endpoint=live_on_pilot.endpoint, deployment=live_on_pilot, kind="restart", phase="done", artifact_digest=version.artifact_digest,
        started_at=moment, phase_started_at=moment, at=moment, seconds=3.1, ok=True, requested_by="tests",
    )  # fmt: skip
    reference = {"n": 500, "source": "reference rows", "features": {"age": {}, "visits": {}}}
    Monitor.objects.create(
        endpoint=live_on_pilot.endpoint, kind="drift", name="drift", reference=reference, reference_digest="sha256:r", cursor_at=moment,
        created_by="tests", created_at=moment,
    )  # fmt: skip


@pytest.fixture
def live_on_pilot(usecase, version, db):
    from apps.core.ids import new_id
    from apps.deployments.models import Deployment, Endpoint, Host

    host = Host.objects.create(name="local", public_key="k", key_id="k")
    endpoint = Endpoint.objects.create(usecase=usecase, slug="outreach-pilot", name="Outreach pilot", environment="pilot")
    return Deployment.objects.create(
        endpoint=endpoint, model_version=version, model_version_label=version.label, artifact_digest=version.artifact_digest,
        decision_id=new_id(), host=host,
    )  # fmt: skip


@pytest.fixture
def ready(shipped, usecase, owner, engineer, actor_of, version):
    """Everything a person writes down before the first gate, and what is measured without a model."""
    actor = actor_of(owner)
    usecases.set_requirements(
        actor=actor,
        usecase_id=usecase.id,
        latency_p99_ms=100,
        availability_pct=99.5,
        freshness_hours=24,
        concurrent_users=40,
        projected_rps=10,
    )
    made = [
        kpis.define_kpi(
            actor=actor, usecase_id=usecase.id, name=name, dimension="business", unit="USD", direction="lower", aggregation="ratio",
            scale=1000.0, target=8_000.0, floor=10_000.0, primary=name == "Cost",
        )
        for name in ("Cost", "Misses", "False alarms")
    ]  # fmt: skip
    without_a_model = [{**r, "external_id": f"week-{i}", "source": "the desk's sheet"} for i, r in enumerate(rows(10, 0, 1))]
    kpis.record_measurements(actor=actor, kpi_id=made[0].id, rows=without_a_model)
    kpis.freeze_baseline(actor=actor, kpi_id=made[0].id, period_start=START, period_end=START + timedelta(days=20))
    document_version(version)
    return made[0]


@pytest.fixture
def gate_to(usecase, owner, engineer, actor_of):
    """gate_to("pilot", version) -> requested gate, every item answered by whom it asks."""

    def make(stage, version=None):
        gate = services.open_gate(
            actor=actor_of(engineer), usecase_id=usecase.id, to_stage=stage, model_version_id=version.id if version else None
        )
        for item in gate.policy.body["attestations"]:
            person = {"owner": owner, "engineer": engineer}[item["owner"]]
            services.attest(actor=actor_of(person), gate_id=gate.id, item=item["item"], answer="yes", note="As said.")
        return services.request_gate(actor=actor_of(engineer), gate_id=gate.id)

    return make


def sign_all(gate, sign, people):
    for function in gate.policy.quorum:
        gate = sign(gate, people[function], function)
    return gate


def test_from_proposal_to_production_and_a_second_version(
    ready, usecase, owner, engineer, version, live_on_pilot, gate_to, sign, business, risk, security, actor_of, system
):
    people = {"business": business, "risk": risk, "security": security}
    engineer_actor = actor_of(engineer)
    assert sign_all(gate_to("poc"), sign, people).usecase.stage == "poc"
    assert sign_all(gate_to("pilot", version), sign, people).usecase.stage == "pilot"

    with pytest.raises(Conflict) as refused:
        gate_to("production", version)
    assert set(refused.value.errors) == {
        "kpis.effect", "loadtests.latency_at_peak", "deployments.rollback_rehearsed", "monitoring.drift_reference",
    }  # fmt: skip
    services.withdraw(actor=actor_of(owner), gate_id=selectors.gates(actor_of(owner), state="draft").get().id)

    proven(usecase, version, live_on_pilot)
    watch(ready, system, 7, 20, 2, version.label)
    gate = gate_to("production", version)
    assert {c["state"] for c in selectors.gate_page(actor_of(risk), gate.id).evidence} == {"pass"}
    # Measuring goes on while people read; that alone makes nothing stale.
    kpis.record_measurements(
        actor=system, kpi_id=ready.id, measured_from="labelled predictions",
        rows=[{**r, "period_start": now().isoformat(), "period_end": (now() + timedelta(minutes=1)).isoformat()} for r in rows(9, 60, 3, version.label)[:1]],
    )  # fmt: skip
    assert sign_all(gate, sign, people).usecase.stage == "production"

    from apps.registry.models import ModelVersion

    second = ModelVersion.objects.create(model=version.model, version=2, run_id="r2", status="ready", artifact_digest="sha256:" + "b" * 64)
    document_version(second)
    evaluate(engineer_actor, second, recall=70)
    with pytest.raises(Conflict) as refused:
        gate_to("production", second)
    assert set(refused.value.errors) == {"registry.evaluation_not_worse"}, "the version that runs was never evaluated the same way"
    evaluate(engineer_actor, version, recall=80)
    gate = selectors.gates(actor_of(owner), state="draft").get()
    with pytest.raises(Conflict) as worse:
        services.request_gate(actor=engineer_actor, gate_id=gate.id)
    assert set(worse.value.errors) == {"registry.evaluation_not_worse"}
    services.withdraw(actor=actor_of(owner), gate_id=gate.id)
    evaluate(engineer_actor, second, recall=85)
    assert sign_all(gate_to("production", second), sign, people).state == "approved"
    assert decisions.live_decision(artifact_digest=second.artifact_digest, environment="production", usecase_id=usecase.id)
    assert decisions.live_decision(artifact_digest=version.artifact_digest, environment="production", usecase_id=usecase.id), "the way back"


def test_an_incident_opened_while_people_sign_stops_the_next_signature(
    ready, usecase, owner, version, live_on_pilot, gate_to, sign, business, risk, security, actor_of, system
):
    from apps.monitoring.models import Incident

    people = {"business": business, "risk": risk, "security": security}
    sign_all(gate_to("poc"), sign, people)
    sign_all(gate_to("pilot", version), sign, people)
    proven(usecase, version, live_on_pilot)
    watch(ready, system, 7, 20, 2, version.label)
    gate = gate_to("production", version)
    sign(gate, business, "business")
    Incident.objects.create(usecase=usecase, endpoint=live_on_pilot.endpoint, severity="high", title="Drift", detail="", opened_at=now())
    with pytest.raises(StaleEvidence, match="No incident is open"):
        sign(gate, risk, "risk")
