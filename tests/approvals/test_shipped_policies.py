"""The policies that ship, from proposal to production and on to a second version, in each risk tier, with every check run on real rows."""

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
# exposure and purpose that make each tier
TIERS = {"minimal": ("small", "informs"), "limited": ("small", "decides"), "high": ("large", "vital")}


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


def rehearsed(version, live_on_pilot, kind):
    """A rollback done for practice: a restart, or traffic to another version and back."""
    from apps.core.ids import new_id
    from apps.deployments.models import Deployment, RollbackRehearsal

    moment, other = now(), None
    if kind == "shift":
        other = Deployment.objects.create(
            endpoint=live_on_pilot.endpoint, model_version=version, model_version_label="outreach/0", artifact_digest="sha256:" + "0" * 64,
            decision_id=new_id(), host=live_on_pilot.host,
        )  # fmt: skip
    RollbackRehearsal.objects.create(
        endpoint=live_on_pilot.endpoint, deployment=live_on_pilot, other=other, kind=kind, phase="done", seconds=3.1, ok=True,
        artifact_digest=version.artifact_digest, started_at=moment, phase_started_at=moment, at=moment, requested_by="tests",
    )  # fmt: skip


def proven(usecase, version, live_on_pilot):
    """A load test, a rehearsal and a drift monitor of the version on the pilot endpoint."""
    from apps.loadtests.models import LoadRun
    from apps.monitoring.models import Monitor

    moment = now()
    LoadRun.objects.create(
        deployment=live_on_pilot, model_version_label=version.label, artifact_digest=version.artifact_digest, multiplier=10, projected_rps=10,
        rate_rps=100, duration_s=6, seed=1, state="done", error_share=0.0, p50_ms=3, p99_ms=41, throughput_rps=99, latency_target_ms=100,
        sent=600, completed=600, passed=True, started_at=moment, finished_at=moment, requested_by="tests",
    )  # fmt: skip
    rehearsed(version, live_on_pilot, "restart")
    reference = {"n": 1500, "source": "reference rows", "features": {"age": {}, "visits": {}}}
    Monitor.objects.create(
        endpoint=live_on_pilot.endpoint, kind="drift", name="drift", reference=reference, reference_digest="sha256:r", cursor_at=moment,
        created_by="tests", created_at=moment,
    )  # fmt: skip
    Monitor.objects.create(
        endpoint=live_on_pilot.endpoint, kind="latency", name="answer time", cursor_at=moment, created_by="tests", created_at=moment
    )


def compared(version, actor, share=80):
    """An evaluation on a named dataset, a bias audit whose groups are treated alike, and a clean scan."""
    from apps.registry import services as registry

    data = {"name": "validation", "digest": "d-validation"}
    metrics = [{"name": "recall", "successes": share, "n": 100, "better": "higher"}]
    registry.attach_evaluation(
        actor=actor, version_id=version.id, document={"kind": "evaluation", "name": "held out", "dataset": data, "metrics": metrics}
    )
    groups = [{"attribute": "sex", "group": group, "n": 200, "selected": selected} for group, selected in (("male", 100), ("female", 95))]
    registry.attach_evaluation(actor=actor, version_id=version.id, document={"kind": "bias_audit", "name": "by sex", "groups": groups})
    registry.record_scan(
        actor=actor, version_id=version.id, digest=version.artifact_digest, files=[{"path": "model.skops", "size": 9, "kind": "skops", "safe": True}],
        findings=[], signature={"state": "none"},
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
def tier():
    """limited, unless a test says otherwise."""
    return "limited"


@pytest.fixture
def ready(shipped, tier, usecase, owner, engineer, actor_of, version):
    """Everything a person writes down before the first gate, and what is measured without a model."""
    actor = actor_of(owner)
    exposure, purpose = TIERS[tier]
    usecases.update_usecase(actor=actor, usecase_id=usecase.id, exposure=exposure, purpose=purpose, risk_tier=tier)
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
    for other in made[1:]:
        kpis.freeze_baseline(
            actor=actor,
            kpi_id=other.id,
            period_start=START,
            period_end=START + timedelta(days=20),
            attested_value=9_000.0,
            note="Counted by hand.",
        )
    document_version(version)
    return made[0]


@pytest.fixture
def people(business, risk, security, make_user):
    """Who signs, by function; two for risk."""
    return {
        "business": [business],
        "risk": [risk, make_user("approver:risk", name="Rolf Risk")],
        "security": [security],
        "legal": [make_user("approver:legal")],
    }


@pytest.fixture
def gate_to(usecase, owner, engineer, people, actor_of):
    """gate_to("pilot", version) -> requested gate, every item answered by whom it asks."""

    def make(stage, version=None):
        gate = services.open_gate(
            actor=actor_of(engineer), usecase_id=usecase.id, to_stage=stage, model_version_id=version.id if version else None
        )
        for item in gate.policy.body["attestations"]:
            person = {"owner": owner, "engineer": engineer}.get(item["owner"]) or people[item["owner"]][0]
            services.attest(actor=actor_of(person), gate_id=gate.id, item=item["item"], answer="yes", note="As said.")
        return services.request_gate(actor=actor_of(engineer), gate_id=gate.id)

    return make


def sign_all(gate, sign, people):
    for function, count in gate.policy.quorum.items():
        for person in people[function][:count]:
            gate = sign(gate, person, function)
    return gate


MISSING = {
    "minimal": {"kpis.effect", "loadtests.latency_at_peak", "deployments.rollback_rehearsed"},
    "limited": {"kpis.effect", "loadtests.latency_at_peak", "deployments.rollback_rehearsed", "monitoring.drift_reference"},
    "high": {
        "kpis.effect", "loadtests.latency_at_peak", "deployments.rollback_rehearsed", "monitoring.drift_reference", "monitoring.watched",
    },
}  # fmt: skip


@pytest.mark.parametrize("tier", ["minimal", "limited", "high"])
def test_from_proposal_to_production_and_a_second_version(
    ready, tier, usecase, owner, engineer, version, live_on_pilot, gate_to, sign, people, actor_of, system
):
    assert sign_all(gate_to("poc"), sign, people).usecase.stage == "poc"
    if tier == "high":
        with pytest.raises(Conflict) as refused:
            gate_to("pilot", version)
        assert set(refused.value.errors) == {"registry.bias_within_bound", "registry.artifact_scanned"}
        services.withdraw(actor=actor_of(owner), gate_id=selectors.gates(actor_of(owner), state="draft").get().id)
        compared(version, system)
    gate = gate_to("pilot", version)
    assert gate.policy.tier == tier, "the tier picks the policy"
    assert sign_all(gate, sign, people).usecase.stage == "pilot"

    with pytest.raises(Conflict) as refused:
        gate_to("production", version)
    assert set(refused.value.errors) == MISSING[tier]
    services.withdraw(actor=actor_of(owner), gate_id=selectors.gates(actor_of(owner), state="draft").get().id)

    proven(usecase, version, live_on_pilot)
    watch(ready, system, 7, 20, 2, version.label)
    if tier == "high":
        with pytest.raises(Conflict) as refused:
            gate_to("production", version)
        assert set(refused.value.errors) == {"deployments.rollback_rehearsed"}, "a restart is not enough for high risk"
        services.withdraw(actor=actor_of(owner), gate_id=selectors.gates(actor_of(owner), state="draft").get().id)
        rehearsed(version, live_on_pilot, "shift")
    gate = gate_to("production", version)
    assert {c["state"] for c in selectors.gate_page(actor_of(people["business"][0]), gate.id).evidence} == {"pass"}
    # Measuring goes on while people read; that alone makes nothing stale.
    kpis.record_measurements(
        actor=system, kpi_id=ready.id, measured_from="labelled predictions",
        rows=[{**r, "period_start": now().isoformat(), "period_end": (now() + timedelta(minutes=1)).isoformat()} for r in rows(9, 60, 3, version.label)[:1]],
    )  # fmt: skip
    assert sign_all(gate, sign, people).usecase.stage == "production"

    from apps.registry.models import ModelVersion

    second = ModelVersion.objects.create(model=version.model, version=2, run_id="r2", status="ready", artifact_digest="sha256:" + "b" * 64)
    document_version(second)
    if tier == "limited":
        engineer_actor = actor_of(engineer)
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
    if tier == "high":
        compared(second, system, share=85)
    assert sign_all(gate_to("production", second), sign, people).state == "approved"
    assert decisions.live_decision(artifact_digest=second.artifact_digest, environment="production", usecase_id=usecase.id)
    assert decisions.live_decision(artifact_digest=version.artifact_digest, environment="production", usecase_id=usecase.id), "the way back"


def test_every_gate_has_a_policy_for_every_tier_and_rigour_grows_with_it(shipped):
    for gate in ("proposal_poc", "poc_pilot", "pilot_production", "version", "production_retired"):
        of = {tier: selectors.policy_for(gate, tier) for tier in TIERS}
        assert all(of.values()), gate
        if gate not in ("poc_pilot", "pilot_production", "version"):
            continue
        assert len({p.digest for p in of.values()}) == 3
        asked = [len(p.body["checks"]) for p in of.values()]
        signed = [sum(p.quorum.values()) for p in of.values()]
        assert asked == sorted(set(asked)) and signed == sorted(set(signed)), (gate, asked, signed)
        assert [p.body["valid_days"] for p in of.values()] == [730, 365, 180]
        assert of["high"].overdue["do"] == "escalate" and of["high"].body["pools"]["risk"] == {"of": 3}


def test_raising_the_tier_while_people_sign_asks_for_the_stricter_policy(
    ready, usecase, owner, engineer, version, gate_to, sign, people, actor_of
):
    sign_all(gate_to("poc"), sign, people)
    gate = gate_to("pilot", version)
    sign(gate, people["business"][0], "business")
    usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, purpose="vital")
    with pytest.raises(StaleEvidence, match="purpose changed"):
        sign(gate, people["risk"][0], "risk")
    with pytest.raises(Conflict, match="began under a policy for limited"):
        services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
    services.withdraw(actor=actor_of(engineer), gate_id=gate.id)
    again = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)
    assert again.policy.name == "poc-to-pilot-high"


def test_an_incident_opened_while_people_sign_stops_the_next_signature(
    ready, usecase, owner, version, live_on_pilot, gate_to, sign, people, actor_of, system
):
    from apps.monitoring.models import Incident

    sign_all(gate_to("poc"), sign, people)
    sign_all(gate_to("pilot", version), sign, people)
    proven(usecase, version, live_on_pilot)
    watch(ready, system, 7, 20, 2, version.label)
    gate = gate_to("production", version)
    sign(gate, people["business"][0], "business")
    Incident.objects.create(usecase=usecase, endpoint=live_on_pilot.endpoint, severity="high", title="Drift", detail="", opened_at=now())
    with pytest.raises(StaleEvidence, match="No incident is open"):
        sign(gate, people["risk"][0], "risk")
