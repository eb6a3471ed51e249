"""What control tells and does by the clock, once each, and never an approval."""

from datetime import timedelta

import pytest

from apps.approvals import services
from apps.approvals.models import Gate, Signature
from apps.approvals.services import reminders
from apps.audit.models import Event
from apps.core.clock import fixed, now
from apps.decisions.models import Decision
from apps.notices.models import Delivery, Notice
from tests.approvals.conftest import policy

pytestmark = pytest.mark.django_db


def told(event):
    return Notice.objects.filter(event=event).count()


def people_told(event):
    return {d.person.full_name for d in Delivery.objects.filter(notice__event=event, person__isnull=False).select_related("person")}


@pytest.fixture
def approved(pilot_gate, business, risk, sign):
    sign(pilot_gate, business, "business")
    return sign(pilot_gate, risk, "risk")


def test_an_approval_that_ends_is_told_thirty_and_seven_days_before_and_when_it_has_ended(approved, system, owner, engineer):
    ends = approved.decision.expires_at
    seen = []
    for left in (31, 30, 29, 8, 7, 1, -1, -2):
        with fixed(ends - timedelta(days=left)):
            for _ in range(2):
                reminders.tell_of_expiry(actor=system, decision_id=approved.decision_id)
        seen.append((told("decision.expiring"), told("decision.lapsed")))
    assert seen == [(0, 0), (1, 0), (1, 0), (1, 0), (2, 0), (2, 0), (2, 1), (2, 1)]
    assert {owner.full_name, engineer.full_name} <= people_told("decision.expiring")
    assert Event.objects.filter(action="approvals.decision.lapsed").count() == 1


def test_an_approval_that_was_revoked_or_renewed_is_left_alone(approved, system, business, risk, engineer, version, sign, actor_of):
    with fixed(approved.decision.expires_at - timedelta(days=5)):
        assert [d.id for d in reminders._ending()] == [approved.decision_id]
        gate = services.open_gate(actor=actor_of(engineer), usecase_id=approved.usecase_id, to_stage="pilot", model_version_id=version.id)
        gate = services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
        from apps.decisions import services as decisions

        later = decisions.issue(
            actor=system, usecase_id=approved.usecase_id, kind="deploy", stage_to="", environment="pilot", model_version_id=version.id,
            model_version_label=version.label, artifact_digest=version.artifact_digest, gate_id=gate.id, evidence_digest="sha256:0", valid_days=90,
        )  # fmt: skip
        assert reminders._ending() == []
    with fixed(later.expires_at - timedelta(days=5)):
        services.revoke_decision(actor=system, decision_id=later.id, reason="Over.")
        assert reminders._ending() == []


@pytest.fixture
def late(policies, usecase, engineer, actor_of, system):
    """late(do="lapse") -> a gate whose signatures were due after 3 days."""

    def make(**way):
        text = policy("proposal_poc", {"business": 1}, checks=[{"check": "usecases.complete"}], version=2, overdue=way)
        services.publish_policy(actor=system, text=text)
        gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc")
        return services.request_gate(actor=actor_of(engineer), gate_id=gate.id)

    return make


def test_who_still_has_to_sign_is_reminded_every_so_many_days(late, system, business):
    gate = late(do="remind", every_days=2)
    seen = []
    for day in (2, 4, 4, 5, 6, 9):
        with fixed(gate.requested_at + timedelta(days=day)):
            reminders.chase(actor=system, gate_id=gate.id)
        seen.append(told("gate.overdue"))
    assert seen == [0, 1, 1, 2, 2, 3] and business.full_name in people_told("gate.overdue")


def test_it_escalates_to_the_named_function(late, system, make_user):
    legal = make_user("approver:legal", name="Lea Legal")
    gate = late(do="escalate", to="legal", every_days=1)
    with fixed(gate.requested_at + timedelta(days=4)):
        reminders.chase(actor=system, gate_id=gate.id)
    assert legal.full_name in people_told("gate.overdue")


def test_it_lapses_and_never_approves(late, system, usecase, business, sign):
    from apps.core.errors import Conflict

    gate = late(do="lapse")
    with fixed(gate.requested_at + timedelta(days=4)):
        assert reminders.chase(actor=system, gate_id=gate.id) and not reminders.chase(actor=system, gate_id=gate.id)
    gate.refresh_from_db()
    usecase.refresh_from_db()
    assert gate.state == Gate.State.LAPSED and usecase.stage == "proposal"
    assert not Decision.objects.exists() and not Signature.objects.exists() and told("gate.lapsed") == 1
    with pytest.raises(Conflict, match="lapsed"):
        sign(gate, business, "business")


@pytest.mark.django_db(transaction=True)
def test_the_whole_round_is_safe_to_repeat(late, system):
    gate = late(do="remind", every_days=1)
    with fixed(gate.requested_at + timedelta(days=4)):
        assert services.remind(actor=system) == {"expiring": 0, "overdue": 1, "waivers": 0}
        assert services.remind(actor=system) == {"expiring": 0, "overdue": 0, "waivers": 0}


def test_stalled_use_cases_are_listed_to_those_who_see_them(api, usecase, owner, make_user, settings):
    settings.STAGE_DAYS = {"proposal": 10}
    assert api(owner).get("/api/v1/stalled-usecases/").json()["results"] == []
    with fixed(now() + timedelta(days=12)):
        from apps.core.actor import Actor
        from apps.usecases import selectors

        assert [u.slug for u in selectors.stalled(Actor.system("t"))] == [usecase.slug]
    settings.STAGE_DAYS = {"proposal": 0}
    row = api(owner).get("/api/v1/stalled-usecases/").json()["results"][0]
    assert (row["slug"], row["stage"], row["days_in_stage"], row["expected_days"]) == (usecase.slug, "proposal", 0, 0)
    assert api(make_user("stakeholder")).get("/api/v1/stalled-usecases/").json()["results"] == []


def test_watching_a_waiver_warns_before_it_runs_out(pilot_gate, engineer, risk, actor_of, system):
    from apps.approvals.models import Waiver

    body = pilot_gate.policy.body["checks"][0]["check"]
    waiver = Waiver.objects.create(
        gate=pilot_gate, subject=body, title="T", reason="R", until=now() + timedelta(days=20), asked_by=engineer, asked_at=now()
    )
    waiver.state, waiver.signer, waiver.signed_at, waiver.printed_name = "signed", risk, now(), "Rita Risk"
    waiver.save()
    from apps.usecases.models import UseCase

    UseCase.objects.filter(id=pilot_gate.usecase_id).update(sponsor=None)  # so that it does not pass
    seen = []
    for day in (1, 6, 7, 17, 18):
        with fixed(waiver.asked_at + timedelta(days=day)):
            reminders.watch_waiver(actor=system, waiver_id=waiver.id)
        seen.append(told("waiver.expiring"))
    assert seen == [0, 1, 1, 2, 2]
