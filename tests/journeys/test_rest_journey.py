"""The whole story over public doors; each step has read back what it claims, and these tests ask the portal once more."""

import json
from collections import Counter

import pytest

from demo import story
from demo.journey import STEPS, connections
from demo.portal import Portal
from demo.steps.serve import alias, answers_with
from demo.traffic import load_rows
from tests.faults.counting import assert_each_counted_once
from tests.journeys.portals import RunningPortal

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.xdist_group("stack")]

GATES = [("proposal", "poc", "stage"), ("poc", "pilot", "stage"), ("pilot", "production", "stage"), ("production", "production", "version")]


def test_every_step_of_the_journey_was_told_and_read_back(portal: RunningPortal) -> None:
    assert sorted(portal.said) == list(range(1, len(STEPS) + 1))
    assert all(portal.said.values())


def test_the_sponsor_sees_a_use_case_in_production_that_moved_one_stage_at_a_time(portal: RunningPortal) -> None:
    sponsor = portal.ctx.people["sponsor"]
    seen = sponsor.get(f"usecases/{portal.ctx['usecase']}/")
    assert (seen["stage"], seen["risk_tier"]) == ("production", story.USE_CASE["risk_tier"])
    moves = sorted(sponsor.pages(f"usecases/{portal.ctx['usecase']}/moves/"), key=lambda move: move["moved_at"])
    assert [(m["from_stage"], m["to_stage"]) for m in moves] == [gate[:2] for gate in GATES[:3]]
    assert all(m["decision_id"] for m in moves)


def test_every_gate_was_signed_by_others_than_who_requested_it_over_the_digest_that_was_frozen(portal: RunningPortal) -> None:
    auditor = portal.ctx.auditor
    gates = sorted(auditor.pages("gates/", usecase=portal.ctx["usecase"]), key=lambda gate: gate["created_at"])
    assert [(g["from_stage"], g["to_stage"], g["kind"]) for g in gates] == GATES
    for gate in [auditor.get(f"gates/{g['id']}/") for g in gates]:
        assert gate["state"] == "approved"
        for function, needed in gate["quorum"].items():
            (signed,) = [part["signatures"] for part in gate["signatures"] if part["function"] == function]
            assert len(signed) == needed
            for signature in signed:
                assert signature["evidence_digest"] == gate["evidence_digest"]
                assert signature["printed_name"] != story.PEOPLE["engineer"].name
                assert signature["void_at"] is None


def test_version_1_serves_again_and_the_decision_for_version_2_is_held(portal: RunningPortal) -> None:
    ctx = portal.ctx
    v1, v2 = ctx["versions"][1], ctx["versions"][2]
    (row, *_) = load_rows(ctx.rows / "control.json")
    assert answers_with(ctx["production"], row, v1["label"])
    assert answers_with(ctx["pilot"], row, v1["label"])
    assert alias(ctx) == v1["number"]
    decisions = {
        (d["environment"], d["model_version_label"]): d["live"]
        for d in ctx.auditor.pages("decisions/", usecase=ctx["usecase"])
        if d["environment"]
    }
    assert decisions == {("pilot", v1["label"]): True, ("production", v1["label"]): True, ("production", v2["label"]): False}
    (taken_back,) = [r for r in ctx.engineer.pages("rollouts/", endpoint=ctx["production"]["slug"]) if r["to_version"] == v2["label"]]
    assert taken_back["state"] == "rolled_back"
    assert taken_back["reason"]
    assert [shift["kind"] for shift in sorted(taken_back["shifts"], key=lambda s: s["requested_at"])] == ["step", "step", "roll_back"]
    assert all(shift["confirmed_at"] for shift in taken_back["shifts"])


def test_the_trail_holds_each_act_as_often_as_it_was_done(portal: RunningPortal) -> None:
    ctx = portal.ctx
    seen = Counter(e["action"] for e in ctx.auditor.pages("audit/events/", usecase=ctx["usecase_id"]))
    signatures = portal.count("SELECT count(*) FROM approvals_signature")
    assert {action: seen[action] for action in seen if not action.startswith(("kpis.measurements", "kpis.cost", "monitoring.window"))} == {
        "usecases.usecase.created": 1,
        "usecases.requirements.set": 1,
        "usecases.integration.added": len(story.INTEGRATIONS),
        "usecases.model.linked": 1,
        "usecases.access.opened": seen["usecases.access.opened"],
        "usecases.stage.promoted": 3,
        "kpis.kpi.defined": len(story.KPIS),
        "kpis.baseline.frozen": sum(k.has_baseline for k in story.KPIS),
        "kpis.conversion.signed_off": 1,
        "approvals.gate.opened": len(GATES),
        "approvals.attachment.added": 1,
        "approvals.attachment.read": 1,
        "approvals.gate.attested": portal.count("SELECT count(*) FROM approvals_attestation"),
        "approvals.gate.requested": len(GATES),
        "approvals.gate.signed": signatures,
        "approvals.gate.approved": len(GATES),
        "decisions.decision.issued": len(GATES),
        "decisions.hold.placed": seen["decisions.hold.placed"],
        # Pilot, production, and the one whose limit is tried.
        "deployments.endpoint.created": 3,
        "deployments.key.issued": 3,
        "deployments.deployment.requested": 3,
        "deployments.traffic.changed": seen["deployments.traffic.changed"],
        # Three deployments, and the rehearsal's stop and start; load tests are ordered too.
        "deployments.order.issued": 5 + portal.count("SELECT count(*) FROM loadtests_loadrun"),
        "deployments.deployment.ready": 4,
        "deployments.rollout.stepped": 4,
        "deployments.rollout.completed": 3,
        "deployments.rollout.rolled_back": 1,
        "deployments.rehearsal.started": 1,
        # It is started again, and answers again.
        "deployments.rehearsal.stepped": 2,
        "deployments.rehearsal.finished": 1,
        "loadtests.run.requested": portal.count("SELECT count(*) FROM loadtests_loadrun"),
        "loadtests.run.finished": portal.count("SELECT count(*) FROM loadtests_loadrun"),
        "monitoring.monitor.created": 6,
        "monitoring.labels.recorded": seen["monitoring.labels.recorded"],
        "monitoring.incident.opened": 2,
        "audit.trail.exported": 1,
    }
    # Shares that changed close to each other are published, and told, as one change.
    assert seen["deployments.traffic.changed"] >= portal.count("SELECT count(*) FROM deployments_trafficshift")
    assert signatures == sum(sum(ctx.auditor.get(f"gates/{g['id']}/")["quorum"].values()) for g in ctx.auditor.pages("gates/"))


def test_every_engine_that_was_started_is_counted_once(portal: RunningPortal) -> None:
    starts = portal.rows("SELECT engine_start_id, deployment_id FROM deployments_enginestart")
    by_deployment = Counter(str(start["deployment_id"]) for start in starts)
    shown = {d["id"]: d["engine_starts"] for d in portal.ctx.engineer.pages("deployments/")}
    assert shown == by_deployment
    # The rehearsal on the pilot stopped its engine and started it again.
    assert sorted(shown.values()) == [1, 1, 2]
    assert shown[portal.ctx["pilot_deployment"]] == 2


def test_every_row_that_has_an_event_has_it_once(portal: RunningPortal) -> None:
    assert_each_counted_once(portal)


def test_a_stakeholder_of_nothing_sees_nothing_of_it(portal: RunningPortal) -> None:
    person = {"name": "Vera Outsider", "email": "vera@gatehouse.example", "role": "stakeholder", "function": ""}
    (account,) = json.loads(portal.stack.manage("sample_accounts", stdin=json.dumps([person])).splitlines()[-1])
    vera = Portal(portal.base_url, account["token"], "Vera")
    assert list(vera.pages("usecases/")) == []
    assert list(vera.pages("endpoints/")) == []
    (gate, *_) = portal.ctx.auditor.pages("gates/", usecase=portal.ctx["usecase"])
    for hidden in (
        f"usecases/{portal.ctx['usecase']}/",
        f"kpis/{portal.ctx['kpis']['cost_per_1k_usd']}/",
        f"gates/{gate['id']}/",
        f"endpoints/{portal.ctx['production']['slug']}/",
        f"deployments/{portal.ctx['pilot_deployment']}/",
    ):
        vera.call("GET", hidden, expect=404)
    own = {e["object"]["id"] for e in vera.pages("audit/events/")}
    assert portal.ctx["usecase_id"] not in own


def test_demo_json_holds_what_a_script_needs_to_go_on(portal: RunningPortal) -> None:
    written = connections(portal.ctx)
    assert written["ready"] is True
    assert written["mlflow_url"] == f"{portal.base_url}/mlflow"
    functions = {account["function"] for account in written["accounts"] if account["role"] == "approver"}
    assert {"business", "risk", "security"} <= functions
    assert {account["role"] for account in written["accounts"]} == {"stakeholder", "approver", "ml_engineer", "auditor", "admin"}
    for account in written["accounts"]:
        me = Portal(written["base_url"], account["token"], account["name"]).get("me/")
        assert me["email"] == account["email"]
    assert written["endpoint"]["infer_url"].startswith(written["gateway_url"])
    assert written["audit"]["table"] == "audit_event"
