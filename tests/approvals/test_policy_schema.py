"""The optional fields of a policy: what holds without them, what they take, and where a refusal points."""

import pytest
import yaml

from apps.approvals import checks, policy_rules
from apps.core.errors import Conflict, FourEyesRequired, Invalid
from tests.approvals.conftest import policy

GOOD = {"checks": [{"check": "usecases.complete"}], "items": [{"item": "a", "text": "A.", "owner": "owner"}]}


def read(**changed):
    body = yaml.safe_load(policy("proposal_poc", {"business": 1}, **GOOD))
    return policy_rules.read(yaml.safe_dump(body | changed), checks.all_checks())


def test_what_holds_when_nothing_is_said():
    body = read()
    assert policy_rules.four_eyes(body) == {"requester": True, "authors": True}
    assert policy_rules.setting(body, "e_signature") is True
    assert policy_rules.overdue(body) == {"do": "remind", "every_days": 7}
    assert policy_rules.setting(body, "waiver_days") == 90


def test_saying_what_holds_anyway_changes_neither_body_nor_digest():
    said = read(four_eyes={"requester": True}, e_signature=True, overdue={"do": "remind"}, waiver_days=90)
    assert said == read() and policy_rules.digest(said) == policy_rules.digest(read())


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"four_eyes": {"authors": False}}, {"four_eyes": {"requester": True, "authors": False}}),
        ({"e_signature": False}, {"e_signature": False}),
        ({"overdue": {"do": "escalate", "to": "legal", "every_days": 2}}, {"overdue": {"do": "escalate", "to": "legal", "every_days": 2}}),
        ({"overdue": {"do": "lapse"}}, {"overdue": {"do": "lapse", "every_days": 7}}),
        ({"waiver_days": 10}, {"waiver_days": 10}),
    ],
)
def test_what_is_said_is_kept(changed, found):
    assert found.items() <= read(**changed).items()


def test_headings_owners_and_what_cannot_be_waived_are_kept():
    body = read(
        checks=[{"check": "usecases.complete", "heading": "Data", "owner": "engineer", "waivable": False}],
        attestations=[{"item": "a", "text": "A.", "owner": "risk", "heading": "People", "waivable": True}],
    )
    assert body["checks"][0] | {"heading": "Data", "owner": "engineer", "waivable": False} == body["checks"][0]
    assert body["attestations"] == [{"item": "a", "text": "A.", "owner": "risk", "heading": "People"}]


@pytest.mark.parametrize(
    ("changed", "where", "words"),
    [
        ({"four_eyes": True}, "four_eyes", "requester"),
        ({"four_eyes": {"owner": True}}, "four_eyes.owner", "unknown"),
        ({"four_eyes": {"authors": "no"}}, "four_eyes.authors", "true or false"),
        ({"e_signature": "yes"}, "e_signature", "true or false"),
        ({"overdue": "lapse"}, "overdue", "give `do`"),
        ({"overdue": {"do": "approve"}}, "overdue.do", "remind, escalate, lapse"),
        ({"overdue": {"do": "escalate"}}, "overdue.to", "name the function"),
        ({"overdue": {"do": "escalate", "to": "boss"}}, "overdue.to", "name the function"),
        ({"overdue": {"do": "remind", "to": "risk"}}, "overdue.to", "only"),
        ({"overdue": {"do": "remind", "every_days": 0}}, "overdue.every_days", "1 to 90"),
        ({"overdue": {"do": "remind", "each": 1}}, "overdue.each", "unknown"),
        ({"waiver_days": 366}, "waiver_days", "1 to 365"),
        ({"checks": [{"check": "usecases.complete", "heading": ""}]}, "checks[0].heading", "text"),
        ({"checks": [{"check": "usecases.complete", "owner": "nobody"}]}, "checks[0].owner", "choose"),
        ({"checks": [{"check": "usecases.complete", "waivable": 1}]}, "checks[0].waivable", "true or false"),
        ({"checks": [{"check": "usecases.complete", "title": 3}]}, "checks[0].title", "text"),
        ({"checks": [{"check": "usecases.complete", "colour": 3}]}, "checks[0].colour", "unknown"),
        ({"attestations": [{"item": "usecases.complete", "text": "A.", "owner": "owner"}]}, "attestations[0].item", "twice"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(changed, where, words):
    with pytest.raises(Invalid, match=words) as refused:
        read(**changed)
    assert where in refused.value.errors and refused.value.extra["line"] > 0


TEXT = """\
name: x
version: 1
gate: proposal_poc
tier: any
question: May it?
valid_days: 90
due_days: 3
quorum:
  business: 1
checks:
  - check: usecases.complete
  - check: kpis.defined
    with:
      minimum: 3
      maximum: many
"""


def test_a_refusal_points_at_the_line():
    for text, where, line in (
        (TEXT, "checks[1].with", 15),
        (TEXT.replace("business: 1", "buisness: 1"), "quorum.buisness", 9),
        (TEXT.replace("due_days: 3", "due_days: never"), "due_days", 7),
        (TEXT.replace("tier: any\n", ""), "tier", 1),
        (TEXT.replace("kpis.defined", "kpis.perfect"), "checks[1].check", 12),
        (TEXT.replace("tier: any", "tier: any\ntier: high"), "tier", 5),
    ):
        with pytest.raises(Invalid) as refused:
            policy_rules.read(text, checks.all_checks())
        assert where in refused.value.errors and refused.value.extra["line"] == line, (refused.value.detail, line)
        assert f"(line {line})" in refused.value.detail


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x", "[" * 3000, "a: 2026-99-99"])
def test_yaml_that_is_not_plain_is_refused(text):
    with pytest.raises(Invalid):
        policy_rules.read(text, checks.all_checks())


def test_the_policies_that_ship_have_owners_and_headings_everywhere():
    from apps.approvals.management.commands.load_policies import SHIPPED

    bodies = {f.stem: policy_rules.read(f.read_text(), checks.all_checks()) for f in SHIPPED.glob("*.yaml")}
    for body in bodies.values():
        assert all(row.get("owner") and row.get("heading") for row in [*body["checks"], *body["attestations"]])
    for stem in ("pilot_production_minimal", "pilot_production", "pilot_production_high"):
        headings = {r["heading"] for r in [*bodies[stem]["checks"], *bodies[stem]["attestations"]]}
        assert headings == {"Strategy", "Data", "Infrastructure", "MLOps", "Observability", "Governance", "People"}
    for stage in ("poc_pilot", "pilot_production", "version"):
        assert any(c.get("waivable") is False for c in bodies[stage]["checks"]), "the files themselves are never waived"


@pytest.mark.django_db
class TestSigning:
    def open(self, api, actor, usecase, **more):
        from apps.approvals import services

        text = policy("proposal_poc", {"business": 1}, checks=[{"check": "usecases.complete"}], **more)
        from apps.core.actor import Actor

        services.publish_policy(actor=Actor.system("tests"), text=text)
        gate = services.open_gate(actor=actor, usecase_id=usecase.id, to_stage="poc")
        return services.request_gate(actor=actor, gate_id=gate.id)

    def test_a_policy_without_e_signature_asks_for_no_password(self, api, usecase, engineer, business, actor_of):
        gate = self.open(api, actor_of(engineer), usecase, e_signature=False)
        body = {"function": "business", "meaning": "approved", "evidence_digest": gate.evidence_digest}
        answer = api(business).post(f"/api/v1/gates/{gate.id}/signatures/", body, format="json")
        assert answer.status_code == 201 and answer.json()["signatures"][0]["signatures"][0]["method"] == "session"

    def test_with_e_signature_a_missing_password_is_refused(self, api, usecase, engineer, business, actor_of):
        gate = self.open(api, actor_of(engineer), usecase)
        body = {"function": "business", "meaning": "approved", "evidence_digest": gate.evidence_digest}
        assert api(business).post(f"/api/v1/gates/{gate.id}/signatures/", body, format="json").json()["errors"]["password"]

    def test_a_policy_may_let_the_requester_sign(self, api, usecase, make_user, owner, actor_of, sign):
        from apps.usecases import services as usecases

        both = make_user("approver:business", name="Bo Both")
        usecases.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=both, level="change")
        gate = self.open(api, actor_of(both), usecase, four_eyes={"requester": False})
        assert sign(gate, both, "business").state == "approved"

    def test_an_author_signs_only_where_the_policy_lets_them(self, policies, usecase, at_stage, version, engineer, owner, actor_of, sign, system):
        from django.db import DatabaseError, transaction

        from apps.accounts import services as accounts
        from apps.approvals import services
        from apps.approvals.models import Signature
        from apps.core.clock import now

        at_stage("poc")
        accounts.assign_role(actor=system, user=engineer, role="approver", function="risk")
        gate = services.open_gate(actor=actor_of(owner), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)
        gate = services.request_gate(actor=actor_of(owner), gate_id=gate.id)
        with pytest.raises(FourEyesRequired, match="made this model version"):
            sign(gate, engineer, "risk")
        with pytest.raises(DatabaseError, match="author"), transaction.atomic():
            Signature.objects.create(
                gate=gate, signer=engineer, printed_name="E", function="risk", meaning="approved", signed_at=now(), evidence_digest=gate.evidence_digest
            )
        services.withdraw(actor=actor_of(owner), gate_id=gate.id)
        text = policy("poc_pilot", {"risk": 1}, checks=[{"check": "registry.digest_known"}], version=2, four_eyes={"authors": False})
        services.publish_policy(actor=system, text=text)
        gate = services.open_gate(actor=actor_of(owner), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)
        gate = services.request_gate(actor=actor_of(owner), gate_id=gate.id)
        assert sign(gate, engineer, "risk").state == "approved"


@pytest.mark.django_db
class TestPublishing:
    def publish(self, actor, **more):
        from apps.approvals import services
        from tests.conftest import PASSWORD

        text = policy("proposal_poc", {"business": 1}, checks=[{"check": "usecases.complete"}], **({"version": 2} | more))
        return services.publish_policy(actor=actor, text=text, password=PASSWORD, note="Lighter.")

    def test_who_asks_for_a_gate_does_not_change_its_policy(self, poc_gate, engineer, business, make_user, actor_of, system):
        from apps.accounts import services as accounts

        accounts.assign_role(actor=system, user=engineer, role="policy_owner")
        with pytest.raises(FourEyesRequired, match="proposal to poc"):
            self.publish(actor_of(engineer))
        with pytest.raises(FourEyesRequired):
            self.publish(actor_of(engineer), tier="high", name="strict")
        assert self.publish(actor_of(engineer), tier="minimal", name="light")[1], "no gate of theirs is of that tier"
        made, new = self.publish(actor_of(make_user("policy_owner")))
        assert new and made.published_by and made.method == "password"

    def test_a_gate_keeps_the_version_it_began_under(self, poc_gate, business, make_user, actor_of):
        made, _ = self.publish(actor_of(make_user("policy_owner")))
        poc_gate.refresh_from_db()
        assert poc_gate.policy.version == 1 and made.version == 2

    def test_what_ships_does_not_displace_what_a_person_published(self, business, make_user, actor_of, capsys):
        from django.core.management import call_command

        from apps.approvals import selectors

        made, _ = self.publish(actor_of(make_user("policy_owner", name="Pia")), name="ours", version=1)
        checked = [{"check": "registry.digest_known"}]
        from apps.approvals import services
        from tests.conftest import PASSWORD

        pilots = policy("poc_pilot", {"business": 1}, checks=checked, name="pilots")
        services.publish_policy(actor=actor_of(make_user("policy_owner")), text=pilots, password=PASSWORD)
        call_command("load_policies")
        told = capsys.readouterr().out
        assert "left out, ours 1" in told and "poc-to-pilot-high 1: left out, pilots 1" in told, "what is for any tier is for each"
        assert selectors.policy_for("proposal_poc", "high") == made
        assert selectors.policy_for("poc_pilot", "high").name == "pilots"
        assert selectors.policy_for("version", "high").printed_name == ""

    def test_raising_the_tier_of_a_live_use_case_suspends_until_its_gate_is_passed_again(
        self, policies, request, usecase, owner, business, risk, engineer, version, sign, actor_of, system
    ):
        from apps.approvals import services
        from apps.decisions import selectors as decisions
        from apps.usecases import services as usecases

        usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, risk_tier="minimal")
        pilot_gate = request.getfixturevalue("pilot_gate")
        sign(pilot_gate, business, "business")
        first = sign(pilot_gate, risk, "risk").decision
        strict = policy("poc_pilot", {"business": 1, "risk": 1}, checks=[{"check": "registry.digest_known"}], tier="high", name="strict")
        services.publish_policy(actor=system, text=strict)
        assert decisions.is_live(first.id)
        usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, risk_tier="high")
        assert "raised from minimal to high" in decisions.state_of(decisions.decision(first.id))
        gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)
        assert gate.policy.name == "strict" and gate.kind == "version", "the gate that opened the environment, under the new tier"
        gate = services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
        sign(gate, business, "business")
        assert not decisions.live().filter(environment="pilot").exists()
        sign(gate, risk, "risk")
        assert decisions.is_live(first.id) and decisions.live().filter(environment="pilot").count() == 2

    def test_retiring_ends_what_production_allowed(self, policies, at_stage, usecase, owner, engineer, business, actor_of, sign, system):
        from apps.approvals import services
        from apps.decisions import selectors as decisions
        from apps.decisions import services as decision_services

        at_stage("production")
        live = decision_services.issue(
            actor=system, usecase_id=usecase.id, kind="deploy", stage_to="", environment="production", model_version_id=None,
            model_version_label="outreach/1", artifact_digest="sha256:" + "a" * 64, gate_id=usecase.id, evidence_digest="sha256:0", valid_days=9,
        )  # fmt: skip
        with pytest.raises(Conflict, match="production_retired"):
            services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="retired")
        item = {"item": "successor", "text": "Somebody takes over.", "owner": "owner"}
        services.publish_policy(actor=system, text=policy("production_retired", {"business": 1}, items=[item]))
        gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="retired")
        assert gate.model_version is None and gate.environment == ""
        services.attest(actor=actor_of(owner), gate_id=gate.id, item="successor", answer="yes", note="The desk, by hand.")
        assert sign(services.request_gate(actor=actor_of(engineer), gate_id=gate.id), business, "business").usecase.stage == "retired"
        assert not decisions.is_live(live.id)
