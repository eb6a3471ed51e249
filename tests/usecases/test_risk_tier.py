"""The risk tier follows from exposure x purpose; lower only with a reason and a risk owner's signature. Raw SQL included."""

import itertools

import pytest
from django.db import DatabaseError, connection, transaction

from apps.accounts.models import SignInAttempt
from apps.audit.models import Event
from apps.core.errors import Conflict, CredentialsRefused, DomainError, FourEyesRequired, Invalid, NotAllowed, NotFound
from apps.notices.models import Notice
from apps.usecases import evidence, materiality, selectors, services
from apps.usecases.models import TierException, UseCase
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def raw(statement, parameters=()):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


@pytest.mark.parametrize(
    ("exposure", "purpose", "product", "tier"),
    [
        ("small", "informs", 1, "minimal"), ("medium", "informs", 2, "minimal"), ("large", "informs", 3, "limited"),
        ("small", "assists", 2, "minimal"), ("medium", "assists", 4, "limited"), ("large", "assists", 6, "high"),
        ("small", "decides", 3, "limited"), ("medium", "decides", 6, "high"), ("large", "decides", 9, "high"),
        ("small", "vital", 6, "high"), ("medium", "vital", 12, "high"), ("large", "vital", 18, "high"),
        ("", "vital", 0, ""), ("large", "", 0, ""), ("", "", 0, ""), ("huge", "vital", 0, ""),
    ],
)  # fmt: skip
def test_the_table(exposure, purpose, product, tier):
    assert (materiality.materiality(exposure, purpose), materiality.tier_of(exposure, purpose)) == (product, tier)


@pytest.mark.parametrize(
    ("given", "computed", "found"),
    [("", "limited", "limited"), ("high", "limited", "high"), ("limited", "limited", "limited"), ("minimal", "limited", Invalid), ("", "", Invalid),
     ("minimal", "", "minimal")],
)  # fmt: skip
def test_the_tier_a_use_case_begins_with(given, computed, found):
    if isinstance(found, str):
        assert materiality.check_first(given, computed) == found
    else:
        with pytest.raises(found) as refused:
            materiality.check_first(given, computed)
        assert "risk_tier" in refused.value.errors


@pytest.mark.parametrize(
    ("stage", "before", "after", "computed", "excused", "may"),
    [
        ("proposal", "limited", "high", "limited", False, True), ("production", "minimal", "high", "minimal", False, True),
        ("proposal", "high", "limited", "limited", False, True), ("proposal", "high", "minimal", "limited", False, False),
        ("proposal", "high", "minimal", "", False, True), ("poc", "high", "limited", "limited", False, False),
        ("poc", "high", "limited", "", False, False), ("pilot", "high", "limited", "high", True, True),
        ("production", "high", "high", "high", False, True), ("poc", "limited", "limited", "high", False, False),
        ("poc", "limited", "limited", "high", True, True),
    ],
)  # fmt: skip
def test_who_may_lower_it_and_when(stage, before, after, computed, excused, may):
    def check():
        return materiality.check_change(stage=stage, before=before, after=after, computed=computed, excused=excused)

    if may:
        assert check() == after
    else:
        with pytest.raises(Conflict, match="risk owner"):
            check()


def test_the_database_and_the_rule_agree_on_every_pair(db):
    pairs = itertools.product(["", *materiality.EXPOSURE], ["", *materiality.PURPOSE])
    with connection.cursor() as cursor:
        for exposure, purpose in pairs:
            cursor.execute("SELECT usecases_tier_of(%s, %s)", [exposure, purpose])
            assert cursor.fetchone()[0] == materiality.tier_of(exposure, purpose), (exposure, purpose)


@pytest.fixture
def said(owner, actor_of):
    """Medium exposure, vital: high."""
    return services.create_usecase(
        actor=actor_of(owner),
        name="Triage",
        problem="Who is seen first.",
        exposure="medium",
        purpose="vital",
        decision_supported="Who is next.",
    )


@pytest.fixture
def risk(make_user):
    return make_user("approver:risk", name="Rita Risk")


def ask(actor, usecase, tier="limited", reason="A nurse sees every one of them."):
    return services.ask_tier(actor=actor, usecase_id=usecase.id, tier=tier, reason=reason)


def sign(actor, row, **changed):
    return services.sign_tier(actor=actor, exception_id=row.id, **({"password": PASSWORD} | changed))


def test_it_is_computed_and_may_begin_higher_never_lower(said, owner, actor_of):
    assert (said.risk_tier, said.computed_tier) == ("high", "high")
    higher = services.create_usecase(
        actor=actor_of(owner), name="Lists", problem="P.", exposure="small", purpose="informs", risk_tier="limited"
    )
    assert (higher.risk_tier, higher.computed_tier) == ("limited", "minimal")
    with pytest.raises(Invalid) as refused:
        services.create_usecase(actor=actor_of(owner), name="Loans", problem="P.", exposure="small", purpose="vital", risk_tier="limited")
    assert refused.value.errors == {"risk_tier": ["At least high."]} and not UseCase.objects.filter(name="Loans").exists()


def test_it_rises_with_what_it_follows_from_and_cannot_be_taken_back(said, owner, actor_of):
    lists = services.create_usecase(actor=actor_of(owner), name="Lists", problem="P.", exposure="small", purpose="informs")
    changed = services.update_usecase(actor=actor_of(owner), usecase_id=lists.id, purpose="decides", risk_tier="minimal")
    assert changed.risk_tier == "limited", "a form sends the tier it was shown"
    with pytest.raises(Invalid, match="taken back"):
        services.update_usecase(actor=actor_of(owner), usecase_id=lists.id, purpose="")
    with pytest.raises(Invalid, match="choose one of"):
        services.update_usecase(actor=actor_of(owner), usecase_id=lists.id, exposure="huge")


def test_what_was_approved_under_a_lower_tier_is_suspended_when_exposure_grows(owner, actor_of, move_to, decide):
    from apps.decisions import selectors as decisions

    made = services.create_usecase(actor=actor_of(owner), name="Lists", problem="P.", exposure="small", purpose="assists")
    move_to(made, "pilot")
    live = decide(made, "", kind="deploy", environment="pilot", artifact_digest="sha256:" + "a" * 64)
    services.update_usecase(actor=actor_of(owner), usecase_id=made.id, exposure="large")
    assert "raised from minimal to high" in decisions.state_of(decisions.decision(live.id))


@pytest.mark.parametrize("held_by", ["the use case on hold", "an incident"])
def test_what_is_held_already_is_suspended_for_the_tier_too(owner, actor_of, move_to, decide, system, held_by):
    from apps.decisions import selectors as decisions
    from apps.decisions import services as decision_services

    made = services.create_usecase(actor=actor_of(owner), name="Lists", problem="P.", exposure="small", purpose="assists")
    move_to(made, "pilot")
    live = decide(made, "", kind="deploy", environment="pilot", artifact_digest="sha256:" + "a" * 64)
    if held_by == "an incident":
        hold = decision_services.place_hold(actor=system, decision_id=live.id, reason="Odd.", source_type="incident", source_id="1")
    else:
        services.put_on_hold(actor=actor_of(owner), usecase_id=made.id, reason="No budget.")
    services.update_usecase(actor=actor_of(owner), usecase_id=made.id, exposure="large")
    if held_by == "an incident":
        decision_services.lift_hold(actor=system, hold_id=hold.id, reason="Mended.")
    else:
        services.resume(actor=actor_of(owner), usecase_id=made.id)
    assert not decisions.is_live(live.id)
    assert "raised from minimal to high" in decisions.state_of(decisions.decision(live.id))


def test_a_lower_one_takes_a_reason_and_a_risk_owners_signature(said, owner, risk, actor_of):
    with pytest.raises(Conflict, match="risk owner"):
        services.update_usecase(actor=actor_of(owner), usecase_id=said.id, risk_tier="limited")
    with pytest.raises(Invalid, match="reason"):
        ask(actor_of(owner), said, reason=" ")
    row = ask(actor_of(owner), said)
    said.refresh_from_db()
    assert said.risk_tier == "high", "asking changes nothing"
    assert list(selectors.tiers_to_sign(actor_of(risk))) == [row], "and the risk owner may see it"
    (opened,) = Event.objects.filter(action="usecases.access.opened")
    assert opened.object_id == str(said.id) and opened.facts["after"] == {"functions": ["risk"]}
    assert [d.person for d in Notice.objects.get(event="tier.asked").deliveries.all()] == [risk]
    done = sign(actor_of(risk), row, comment="Seen with the ward.")
    said.refresh_from_db()
    assert (said.risk_tier, done.state, done.printed_name, done.method) == ("limited", "signed", "Rita Risk", "password")
    told = Event.objects.filter(action__startswith="usecases.tier").order_by("id")
    assert [e.action for e in told] == ["usecases.tier.asked", "usecases.tier.signed"]
    assert services.update_usecase(actor=actor_of(owner), usecase_id=said.id, exposure="medium").risk_tier == "limited"
    with pytest.raises(Conflict):
        sign(actor_of(risk), row)


def test_the_exception_ends_when_what_it_was_signed_for_changes(said, owner, risk, actor_of):
    sign(actor_of(risk), ask(actor_of(owner), said))
    changed = services.update_usecase(actor=actor_of(owner), usecase_id=said.id, exposure="large")
    assert changed.risk_tier == "high" and TierException.objects.get().state == "ended"
    with pytest.raises(Conflict):
        services.update_usecase(actor=actor_of(owner), usecase_id=said.id, risk_tier="limited")


def test_one_exception_replaces_another(said, owner, risk, actor_of):
    sign(actor_of(risk), ask(actor_of(owner), said))
    sign(actor_of(risk), ask(actor_of(owner), said, "minimal"))
    raw("SET CONSTRAINTS ALL IMMEDIATE")
    said.refresh_from_db()
    assert said.risk_tier == "minimal"
    assert sorted(TierException.objects.values_list("tier", "state")) == [("limited", "ended"), ("minimal", "signed")]


def test_only_another_risk_owner_signs_with_the_right_password(said, owner, risk, make_user, actor_of, system):
    row = ask(actor_of(owner), said)
    business = make_user("approver:business")
    services.give_access(actor=actor_of(owner), usecase_id=said.id, user=business, level="view")
    from apps.accounts import services as accounts

    accounts.assign_role(actor=system, user=owner, role="approver", function="risk")
    for person, error in ((business, NotAllowed), (owner, FourEyesRequired), (make_user("approver:legal"), NotFound)):
        with pytest.raises(error):
            sign(actor_of(person), row)
    with pytest.raises(CredentialsRefused):
        sign(actor_of(risk), row, password="wrong")
    with pytest.raises(Invalid, match="comment"):
        sign(actor_of(risk), row, grant=False)
    sign(actor_of(risk), row, grant=False, comment="Not before the trial.")
    said.refresh_from_db()
    assert said.risk_tier == "high" and TierException.objects.get().state == "refused"


@pytest.mark.parametrize(("tier", "why"), [("high", "Not lower than now."), ("huge", "Unknown.")])
def test_what_is_no_lower_tier_is_refused_by_field(said, owner, actor_of, tier, why):
    with pytest.raises(DomainError) as refused:
        ask(actor_of(owner), said, tier)
    assert refused.value.errors == {"tier": [why]} and not TierException.objects.exists()


def test_nothing_to_ask_before_exposure_and_purpose_are_said_and_once_at_a_time(usecase, said, owner, make_user, actor_of):
    with pytest.raises(Conflict, match="exposure and purpose first"):
        ask(actor_of(owner), usecase)
    ask(actor_of(owner), said)
    with pytest.raises(Conflict, match="asked for already"):
        ask(actor_of(owner), said, "minimal")
    reader = make_user("stakeholder")
    services.give_access(actor=actor_of(owner), usecase_id=said.id, user=reader, level="view")
    with pytest.raises(NotAllowed):
        ask(actor_of(reader), said)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usecases_usecase SET risk_tier = 'limited'",
        "UPDATE usecases_usecase SET exposure = 'large', purpose = 'vital', risk_tier = 'minimal'",
        "UPDATE usecases_tierexception SET state = 'signed', signer_id = asked_by_id, signed_at = now()",
        "UPDATE usecases_tierexception SET tier = 'minimal'",
        "UPDATE usecases_tierexception SET reason = 'other'",
        "UPDATE usecases_tierexception SET state = 'signed'",
        "DELETE FROM usecases_tierexception",
        "INSERT INTO usecases_tierexception (id, created_at, usecase_id, exposure, purpose, from_tier, tier, reason, state, asked_by_id, asked_at, "
        "signer_id, printed_name, method, comment, signed_at, end_reason) SELECT gen_random_uuid(), now(), usecase_id, exposure, purpose, from_tier, "
        "tier, reason, 'signed', asked_by_id, now(), asked_by_id, 'x', 'x', '', now(), '' FROM usecases_tierexception",
    ],
)
def test_raw_sql_cannot_lower_it_or_forge_an_exception(said, owner, actor_of, statement):
    ask(actor_of(owner), said)
    with pytest.raises(DatabaseError):
        raw(statement)
    said.refresh_from_db()
    assert said.risk_tier == "high"


def test_raw_sql_cannot_lower_it_past_the_proposal_nor_end_what_it_rests_on(usecase, said, owner, risk, actor_of, move_to):
    move_to(usecase, "poc")
    with pytest.raises(DatabaseError, match="risk owner has signed"):
        raw("UPDATE usecases_usecase SET risk_tier = 'minimal' WHERE id = %s", [usecase.id])
    sign(actor_of(risk), ask(actor_of(owner), said))
    with pytest.raises(DatabaseError, match="rests on this exception"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE usecases_tierexception SET state = 'ended', ended_at = now(), end_reason = 'x'")
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_the_check_names_what_is_missing_and_who_lowered_it(usecase, said, owner, risk, actor_of):
    from apps.core.evidence import EvidenceSubject

    def run(of):
        return evidence.CHECKS["usecases.materiality"].run(EvidenceSubject(usecase_id=str(of.id)), {})

    assert run(usecase).state == "missing" and "exposure" in run(usecase).detail
    assert (run(said).state, run(said).figure, run(said).threshold) == ("pass", 12.0, 6.0)
    before = run(said).source_digest
    sign(actor_of(risk), ask(actor_of(owner), said))
    assert run(said).state == "pass" and "lowered by Rita Risk" in run(said).found and run(said).source_digest != before


def test_over_rest(api, owner, risk):
    client = api(owner)
    made = client.post("/api/v1/usecases/", {"name": "Triage", "problem": "P.", "exposure": "medium", "purpose": "vital"}).json()
    assert (made["risk_tier"], made["computed_tier"], made["exposure"], made["purpose"]) == ("high", "high", "medium", "vital")
    refused = client.patch("/api/v1/usecases/triage/", {"risk_tier": "minimal"})
    assert refused.status_code == 409 and "risk_tier" in refused.json()["errors"]
    asked = client.post("/api/v1/usecases/triage/tier-exceptions/", {"tier": "limited", "reason": "Nurses see all."})
    assert asked.status_code == 201
    path = f"/api/v1/tier-exceptions/{asked.json()['id']}/signature/"
    assert api(risk).post(path, {"grant": True, "password": "wrong"}).status_code == 403
    assert SignInAttempt.objects.filter(kind="again").count() == 1
    assert api(risk).post(path, {"grant": True, "password": PASSWORD}).json()["state"] == "signed"
    assert client.get("/api/v1/usecases/triage/").json()["risk_tier"] == "limited"
    assert [r["state"] for r in client.get("/api/v1/usecases/triage/tier-exceptions/").json()["results"]] == ["signed"]


def test_what_waits_for_a_risk_owner_is_listed_over_rest(api, said, owner, risk, actor_of):
    row = ask(actor_of(owner), said)
    (waiting,) = api(risk).get("/api/v1/tier-exceptions/").json()["results"]
    assert (waiting["id"], waiting["usecase"], waiting["tier"], waiting["state"]) == (str(row.id), said.slug, "limited", "asked")
    assert waiting["usecase_name"] == said.name and waiting["reason"] == row.reason
    assert api(owner).get("/api/v1/tier-exceptions/").json()["results"] == [], "they asked for it"
    sign(actor_of(risk), row)
    assert api(risk).get("/api/v1/tier-exceptions/").json()["results"] == []
