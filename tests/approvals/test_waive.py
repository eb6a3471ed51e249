"""Waivers: for a time, on the risk owner's signature, and never for good."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from apps.approvals import selectors, services
from apps.approvals.models import Waiver
from apps.audit.models import Event
from apps.core.clock import fixed, now
from apps.core.errors import Conflict, CredentialsRefused, FourEyesRequired, Invalid, NotAllowed, NotFound, StaleEvidence
from apps.decisions import selectors as decisions
from apps.notices.models import Notice
from tests.approvals.conftest import policy
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
ITEM = {"item": "trained", "text": "People are trained.", "owner": "owner"}


@pytest.fixture
def draft(policies, usecase, at_stage, engineer, actor_of, version, system):
    """poc -> pilot, where the KPI check and one item do not pass and the files may not be waived."""
    checks = [{"check": "kpis.defined"}, {"check": "registry.digest_known", "waivable": False}]
    services.publish_policy(
        actor=system, text=policy("poc_pilot", {"business": 1, "risk": 1}, checks=checks, items=[ITEM], version=2, waiver_days=30)
    )
    at_stage("poc")
    return services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)


@pytest.fixture
def ask(engineer, actor_of):
    def make(gate, subject="kpis.defined", days=10, reason="Figures follow next week.", who=None):
        return services.ask_waiver(
            actor=actor_of(who or engineer), gate_id=gate.id, subject=subject, reason=reason, until=now() + timedelta(days=days)
        )

    return make


@pytest.fixture
def grant(risk, actor_of):
    def make(waiver, who=None, **more):
        return services.sign_waiver(actor=actor_of(who or risk), waiver_id=waiver.id, **({"password": PASSWORD} | more))

    return make


@pytest.fixture
def approved(draft, ask, grant, engineer, business, risk, sign, actor_of):
    """The gate approved with both waived."""
    for subject in ("kpis.defined", "trained"):
        grant(ask(draft, subject))
    gate = services.request_gate(actor=actor_of(engineer), gate_id=draft.id)
    sign(gate, business, "business")
    return sign(gate, risk, "risk")


def test_a_waived_check_and_item_let_the_gate_be_requested_and_the_row_says_who_and_until_when(draft, ask, grant, engineer, actor_of, risk):
    with pytest.raises(Conflict, match="not complete"):
        services.request_gate(actor=actor_of(engineer), gate_id=draft.id)
    first = ask(draft)
    assert Notice.objects.filter(event="waiver.asked").exists()
    assert "kpis.defined" in selectors.gate_page(actor_of(risk), draft.id).open_points, "asking alone lets nothing pass"
    waiver = grant(first)
    grant(ask(draft, "trained"))
    gate = services.request_gate(actor=actor_of(engineer), gate_id=draft.id)
    page = selectors.gate_page(actor_of(risk), gate.id)
    row = next(r for r in page.evidence if r["check"] == "kpis.defined")
    assert row["state"] != "pass" and row["waiver"]["by"] == "Rita Risk" and row["waiver"]["until"][:10] == f"{waiver.until:%Y-%m-%d}"
    assert page.attestations[0]["waiver"]["reason"] == "Figures follow next week."
    assert Event.objects.filter(action="approvals.waiver.signed").count() == 2


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"days": -1}, "until"),
        ({"days": 0}, "until"),
        ({"days": 31}, "until"),
        ({"reason": "  "}, "reason"),
        ({"subject": "kpis.effect"}, "subject"),
        ({"subject": ""}, "subject"),
    ],
)
def test_what_is_over_too_long_or_unknown_is_refused_by_field(draft, ask, given, field):
    with pytest.raises(Invalid) as refused:
        ask(draft, **given)
    assert field in refused.value.errors and not Waiver.objects.exists()


def test_what_passes_or_may_not_be_waived_is_refused(draft, ask, owner, actor_of):
    with pytest.raises(Conflict, match="lets nobody waive"):
        ask(draft, "registry.digest_known")
    services.attest(actor=actor_of(owner), gate_id=draft.id, item="trained", answer="yes", note="Last week.")
    with pytest.raises(Conflict, match="passes"):
        ask(draft, "trained")
    ask(draft)
    with pytest.raises(Conflict, match="asked for already"):
        ask(draft)


def test_only_another_risk_owner_signs_with_the_right_password(draft, ask, grant, risk, business, engineer, owner, system, actor_of):
    from apps.accounts import services as accounts

    waiver = ask(draft, who=owner)
    for person in (business, engineer):
        with pytest.raises((NotAllowed, NotFound)):
            grant(waiver, who=person)
    accounts.assign_role(actor=system, user=engineer, role="approver", function="risk")
    accounts.assign_role(actor=system, user=owner, role="approver", function="risk")
    with pytest.raises(FourEyesRequired, match="requested this gate"):
        grant(waiver, who=engineer)
    with pytest.raises(FourEyesRequired, match="asked for this waiver"):
        grant(waiver, who=owner)
    with pytest.raises(CredentialsRefused):
        grant(waiver, password="wrong")
    with pytest.raises(Invalid):
        grant(waiver, password="")
    assert grant(waiver).state == "signed"
    with pytest.raises(Conflict, match="answered already"):
        grant(waiver)


def test_refusing_needs_words_and_lets_nothing_pass(draft, ask, grant, risk, actor_of):
    waiver = ask(draft)
    with pytest.raises(Invalid) as refused:
        grant(waiver, grant=False)
    assert "comment" in refused.value.errors
    assert grant(waiver, grant=False, comment="Define them first.").state == "refused"
    assert "kpis.defined" in selectors.gate_page(actor_of(risk), draft.id).open_points
    assert ask(draft).state == "asked", "one may ask again"


def test_a_waiver_that_is_over_when_it_is_to_be_signed_is_refused(draft, ask, grant):
    waiver = ask(draft, days=2)
    with fixed(now() + timedelta(days=3)), pytest.raises(Invalid) as refused:
        grant(waiver)
    assert "until" in refused.value.errors


def test_a_waiver_that_runs_out_while_people_sign_stops_the_signature(draft, ask, grant, engineer, business, sign, actor_of):
    for subject in ("kpis.defined", "trained"):
        grant(ask(draft, subject, days=5))
    gate = services.request_gate(actor=actor_of(engineer), gate_id=draft.id)
    with fixed(now() + timedelta(days=6)), pytest.raises(StaleEvidence, match="waived by Rita Risk"):
        sign(gate, business, "business")


def test_when_it_is_due_the_decision_is_suspended_until_it_passes(approved, owner, actor_of, system):
    waiver = Waiver.objects.get(subject="trained")
    decision = approved.decision_id
    assert services.settle_waiver(actor=system, waiver_id=waiver.id) == "waits" and decisions.is_live(decision)
    with fixed(now() + timedelta(days=11)):
        assert [services.settle_waiver(actor=system, waiver_id=waiver.id) for _ in range(2)] == ["held", "held"]
        assert not decisions.is_live(decision)
        assert Notice.objects.filter(event="decision.held").count() == 1, "told once"
        services.attest(actor=actor_of(owner), gate_id=approved.id, item="trained", answer="yes", note="All of them, yesterday.")
        assert services.settle_waiver(actor=system, waiver_id=waiver.id) == "ended"
    with fixed(now() + timedelta(days=12)):
        assert decisions.is_live(decision)
        assert services.settle_waiver(actor=system, waiver_id=waiver.id) == "ended"


def test_a_new_waiver_lifts_what_the_old_one_suspended(approved, ask, grant, system):
    waiver = Waiver.objects.get(subject="kpis.defined")
    with fixed(now() + timedelta(days=11)):
        services.settle_waiver(actor=system, waiver_id=waiver.id)
        assert not decisions.is_live(approved.decision_id)
        fresh = grant(ask(approved, days=20))
        waiver.refresh_from_db()
        assert waiver.state == "ended" and fresh.state == "signed"
    with fixed(now() + timedelta(days=12)):
        assert decisions.is_live(approved.decision_id)


def test_other_items_of_an_approved_gate_stay_as_they_are(approved, draft, owner, actor_of):
    with pytest.raises(Conflict):
        services.withdraw(actor=actor_of(owner), gate_id=approved.id)
    Waiver.objects.get(subject="trained")
    services.attest(actor=actor_of(owner), gate_id=approved.id, item="trained", answer="yes", note="Done.")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE approvals_waiver SET until = until + interval '1 year'",
        "UPDATE approvals_waiver SET state = 'asked', signer_id = NULL",
        "UPDATE approvals_waiver SET printed_name = 'Somebody'",
        "DELETE FROM approvals_waiver",
        "INSERT INTO approvals_waiver (id, created_at, gate_id, subject, title, reason, until, state, asked_by_id, asked_at, signer_id, "
        "printed_name, method, comment, signed_at, end_reason) SELECT gen_random_uuid(), now(), gate_id, 'x', title, reason, until, 'signed', "
        "asked_by_id, asked_at, signer_id, printed_name, method, comment, now(), '' FROM approvals_waiver",
    ],
)
def test_raw_sql_cannot_forge_or_stretch_one(draft, ask, grant, statement):
    grant(ask(draft))
    with pytest.raises(DatabaseError, match="waiver"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_over_rest(api, draft, engineer, risk, make_user):
    path = f"/api/v1/gates/{draft.id}/waivers/"
    body = {"subject": "trained", "reason": "Next week.", "until": (now() + timedelta(days=5)).isoformat()}
    assert api(make_user("ml_engineer")).post(path, body, format="json").status_code == 404
    made = api(engineer).post(path, body, format="json")
    assert made.status_code == 201 and made.json()["state"] == "asked"
    late = api(engineer).post(path, body | {"subject": "kpis.defined", "until": "2020-01-01T00:00:00Z"}, format="json")
    assert late.status_code == 400 and "until" in late.json()["errors"]
    sign = f"/api/v1/waivers/{made.json()['id']}/signature/"
    from apps.accounts.models import SignInAttempt

    assert api(risk).post(sign, {"grant": True, "password": "wrong"}, format="json").status_code == 403
    assert SignInAttempt.objects.count() == 1
    done = api(risk).post(sign, {"grant": True, "password": PASSWORD}, format="json")
    assert done.status_code == 201 and done.json()["printed_name"] == "Rita Risk"
    assert [w["state"] for w in api(engineer).get(path).json()["results"]] == ["signed"]
