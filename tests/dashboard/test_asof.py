"""What was live at a moment, compared with what was really there then."""

import contextlib
import json
import random
import uuid
from datetime import date, timedelta

import pytest

from apps.audit.models import Event
from apps.core import clock
from apps.core.actor import Actor
from apps.core.errors import DomainError, Invalid
from apps.dashboard import selectors_asof as asof
from apps.decisions import selectors as decision_reads
from apps.decisions import services as decisions
from apps.decisions.models import Decision, Hold
from apps.deployments import selectors, services
from apps.deployments.models import Deployment, Endpoint, Rollout, RoutingSnapshot, TrafficShift
from apps.usecases import phase_selectors
from apps.usecases import services as usecases
from apps.usecases.models import RolloutPhase
from tests.approvals.conftest import policies  # noqa: F401
from tests.dashboard.decided import decided  # noqa: F401
from tests.deployments.world import (  # noqa: F401
    agent,
    control,
    decide,
    elena,
    endpoints,
    engineer,
    order_key_file,
    stage,
    trail_begins,
    usecase,
    versions,
)

pytestmark = pytest.mark.django_db
URL = "/api/v1/asof/"


def at_all(actor, at):
    return {t.endpoint: t for t in asof.at_moment(asof.endpoints(actor, at=at), at)}


def shares(routed):
    return {r.deployment_id: r.weight for r in routed.routes} if routed else {}


class Replay:
    """A random history; `truth` is what gateways routed by, what was published and which decisions held, noted after each step."""

    STEPS = ("request", "request", "ready", "advance", "advance", "roll_back", "revoke", "hold", "lift", "stop", "fail", "publish",
             "take_up", "take_up", "again")  # fmt: skip

    def __init__(self, stage, system, seed):  # noqa: F811
        self.stage, self.system, self.random = stage, system, random.Random(seed)
        self.moment, self.held, self.truth = clock.now(), None, []

    def run(self, steps):
        for _ in range(steps):
            self.moment += timedelta(seconds=self.random.randint(5, 900))
            with clock.fixed(self.moment):
                with contextlib.suppress(DomainError):
                    getattr(self, self.random.choice(self.STEPS))()
                self.note()

    def note(self):
        newest = selectors.newest_routing()
        published = self.routes(newest)
        live = {str(d.id): decision_reads.is_live(d.decision_id) for d in Deployment.objects.all()}
        under = {str(d.id): str(d.decision_id) for d in Deployment.objects.all()}
        self.truth.append((self.moment, self.held if self.held is not None else published, published, live, under))

    @staticmethod
    def routes(snapshot):
        if snapshot is None:
            return {}
        rows = json.loads(snapshot.envelope["payload"])["endpoints"]
        return {e["slug"]: {r["deployment_id"]: r["weight"] for r in e["routes"]} for e in rows}

    def some(self, rows):
        found = list(rows)
        return self.random.choice(found) if found else None

    def request(self):
        options = {"strategy": "canary", "steps": [10, 50, 100], "bake_s": 60} if self.random.random() < 0.6 else {}
        self.stage.agent.heartbeat()
        rollout = self.stage.request(self.random.randint(1, 3), self.random.choice(["pilot", "production"]), **options)
        if self.random.random() < 0.8:
            self.stage.make_ready(rollout.to_deployment, port=9000 + self.random.randint(1, 900))
            self.stage.advance(rollout.endpoint)

    def ready(self):
        if found := self.some(Deployment.objects.filter(desired="running").exclude(observed="ready")):
            self.stage.agent.heartbeat()
            self.stage.make_ready(found, port=9000 + self.random.randint(1, 900))

    def advance(self):
        if found := self.some(Endpoint.objects.all()):
            self.stage.advance(found)

    def roll_back(self):
        if found := self.some(Endpoint.objects.all()):
            services.roll_back(actor=self.stage.actor, endpoint_id=found.id, reason="Worse.")

    def revoke(self):
        if self.random.random() < 0.3 and (found := self.some(Deployment.objects.filter(desired="running"))):
            decisions.revoke(actor=self.system, decision_id=found.decision_id, reason="Wrong evidence.")
            self.stage.reconcile(found)

    def hold(self):
        if found := self.some(Decision.objects.all()):
            decisions.place_hold(
                actor=self.system, decision_id=found.id, reason="Drift.", source_type="incident", source_id=str(len(self.truth))
            )

    def lift(self):
        if found := self.some(Hold.objects.filter(lifted_at=None)):
            decisions.lift_hold(actor=self.system, hold_id=found.id, reason="Dealt with.")

    def stop(self):
        if self.random.random() < 0.5 and (found := self.some(Deployment.objects.filter(desired="running"))):
            services.stop_deployment(actor=self.stage.actor, deployment_id=found.id, reason="Not needed.")

    def fail(self):
        if found := self.some(Deployment.objects.filter(observed="ready", desired="running")):
            self.stage.agent.report(found, "failed", detail="it died")

    def again(self):
        """A newer decision about the same version, under which its engine is started again."""
        if found := self.some(Deployment.objects.filter(desired="running", observed="failed")):
            self.stage.agent.heartbeat()
            self.stage.decide(int(found.model_version_label[-1]), found.endpoint.environment)
            self.stage.make_ready(found)

    def publish(self):
        self.stage.publish()

    def take_up(self):
        newest = self.stage.gateway_takes_up()
        self.held = self.routes(newest)


@pytest.mark.parametrize("seed", range(5))
def test_a_random_history_is_told_as_it_was(stage, system, seed):  # noqa: F811
    stage.endpoints("pilot"), stage.endpoints("production")
    replay = Replay(stage, system, seed)
    replay.run(70)
    # What is swept is not needed for the answer.
    newest = selectors.newest_routing_version()
    RoutingSnapshot.objects.filter(version__lt=newest).delete()
    actor, compared, routed = Actor.system("auditor"), 0, 0
    moments = [(number, replay.random.random()) for number in range(len(replay.truth) - 1)]
    for number, share in moments:
        moment, held, published, live, under = replay.truth[number]
        at = moment + (replay.truth[number + 1][0] - moment) * share
        told = at_all(actor, at)
        for slug in told:
            assert shares(told[slug].live) == held.get(slug, {}), (seed, number, slug)
            assert shares(told[slug].coming or told[slug].live) == published.get(slug, {}), (seed, number, slug)
            for each in told[slug].live.routes if told[slug].live else ():
                assert each.decision.id == under[each.deployment_id], (seed, number)
                assert (each.decision.why_not == "") == live[each.deployment_id], (seed, number)
                routed += 1
            compared += 1
    assert compared > 100 and routed > 15


def test_between_publishing_and_taking_up_both_are_told(stage, system):  # noqa: F811
    began = clock.now()
    with clock.fixed(began + timedelta(seconds=2)):
        first = stage.live(1)
        stage.gateway_takes_up()
    with clock.fixed(began + timedelta(seconds=6)):
        second = stage.live(2)
        stage.publish()
    with clock.fixed(began + timedelta(seconds=10)):
        stage.gateway_takes_up()
    there = first.endpoint.slug
    (before,) = at_all(system, began + timedelta(seconds=4)).values()
    (during,) = at_all(system, began + timedelta(seconds=8)).values()
    (after,) = at_all(system, began + timedelta(seconds=12)).values()
    assert before.endpoint == there and shares(before.live) == {str(first.id): 100} and before.coming is None
    assert shares(during.live) == {str(first.id): 100}
    assert during.coming.taken_up_at is None and shares(during.coming) == {str(first.id): 0, str(second.id): 100}
    assert shares(after.live) == {str(first.id): 0, str(second.id): 100} and after.coming is None
    assert after.live.taken_up_at == clock.iso(began + timedelta(seconds=10))
    assert [r.model_version for r in after.answering] == [str(second)] and [r.role for r in after.beside] == ["standby"]


def test_history_from_before_shares_were_told_by_themselves_is_answered_too(stage, system, monkeypatch):  # noqa: F811
    from apps.deployments.services import routing

    monkeypatch.setattr(routing, "_tell_traffic", lambda *_: None)
    deployment = stage.live(1)
    stage.publish()
    (told,) = at_all(system, clock.now()).values()
    assert shares(told.live) == {str(deployment.id): 100} and told.live.routes[0].model_version == str(deployment)
    assert told.live.routes[0].decision.id == str(deployment.decision_id)


def test_before_anything_ran_nothing_answers_and_before_it_was_made_there_is_no_endpoint(stage, system, endpoints):  # noqa: F811
    began = clock.now()
    made = endpoints("pilot")
    assert at_all(system, began) == {}
    (told,) = at_all(system, clock.now()).values()
    assert told.endpoint == made.slug and told.live is None and told.answering == []


def test_others_are_told_of_what_they_may_see_only(stage, system, make_user, actor_of, usecase, elena):  # noqa: F811
    stage.live(1)
    stage.publish()
    stranger = make_user("stakeholder")
    assert at_all(actor_of(stranger), clock.now()) == {}
    usecases.give_access(actor=elena, usecase_id=usecase.id, user=stranger, level="view")
    assert len(at_all(actor_of(stranger), clock.now())) == 1


@pytest.mark.parametrize(("text", "says"), [("soon", "at: give a date"), ("2999-01-01T00:00Z", "has not come")])
def test_a_moment_that_is_none_is_refused_by_name(text, says):
    with pytest.raises(Invalid) as refused:
        asof.moment_asked(text)
    assert says in refused.value.detail and list(refused.value.errors) == ["at"]


def test_traffic_is_told_once_a_change_and_scoped_to_its_use_case(stage, usecase):  # noqa: F811
    stage.live(1)
    stage.publish()
    stage.publish()
    rows = Event.objects.filter(action="deployments.traffic.changed", usecase_id=str(usecase.id))
    assert rows.count() == 1 and rows.get().facts["before"] == {"routes": []}
    assert rows.get().facts["after"]["routes"][0]["weight"] == 100


def test_the_page_of_many_endpoints_asks_a_bounded_number_of_questions(stage, system, django_assert_max_num_queries):  # noqa: F811
    stage.live(1)
    stage.live(2)
    stage.live(1, "production")
    stage.gateway_takes_up()
    with django_assert_max_num_queries(14):
        asof.at_moment(asof.endpoints(system, at=clock.now()), clock.now())
    assert Rollout.objects.count() == 3 and TrafficShift.objects.count() == 3


def test_the_answer_names_decision_signatures_and_evidence_as_they_were_then(decided, system):  # noqa: F811
    deployment, gate = decided
    moment = clock.now()
    decisions.revoke(actor=system, decision_id=gate.decision_id, reason="Wrong evidence.")
    (told,) = at_all(system, moment).values()
    (share,) = told.answering
    assert told.stage == "pilot" and share.decision.id == str(gate.decision_id) and share.decision.why_not == ""
    assert [(s.name, s.function, s.meaning) for s in share.decision.signatures] == [
        ("Business Person", "business", "approved"), ("Risk Person", "risk", "approved"),
    ]  # fmt: skip
    assert share.decision.evidence_digest == gate.evidence_digest == share.decision.signatures[0].evidence_digest
    assert share.decision.policy == "test-poc_pilot 1"
    (now,) = at_all(system, clock.now()).values()
    assert "revoked" in now.answering[0].decision.why_not and now.answering[0].model_version == str(deployment)


def test_by_rest(decided, api, make_user, usecase):  # noqa: F811
    deployment, _ = decided
    auditor = api(make_user("auditor"))
    answer = auditor.get(URL, {"at": clock.iso(clock.now()), "usecase": usecase.slug}).json()
    (row,) = answer["results"]
    assert row["endpoint"] == deployment.endpoint.slug and row["live"]["routes"][0]["weight"] == 100
    assert row["live"]["routes"][0]["decision"]["signatures"][1]["function"] == "risk"
    assert auditor.get(f"/api/v1/audit/events/{row['live']['event_id']}/").json()["action"] == "deployments.traffic.changed"
    assert auditor.get(URL).json()["results"][0]["at"] and auditor.get(URL, {"at": "2020-01-01"}).json()["results"] == []
    assert api(make_user("stakeholder")).get(URL).json()["results"] == []
    assert auditor.get(URL, {"usecase": "none-such"}).status_code == 404
    refused = auditor.get(URL, {"at": "2999-01-01"})
    assert refused.status_code == 400 and list(refused.json()["errors"]) == ["at"]


def test_the_page_says_first_what_answered(decided, page_of, make_user, usecase):  # noqa: F811
    _, gate = decided
    auditor = page_of(make_user("auditor"))
    text = " ".join(auditor.get("/asof/", {"usecase": usecase.slug}).content.decode().split())
    assert "care-outreach/1" in text and "100%" in text and "Risk Person" in text and f"/gates/{gate.id}/" in text
    assert "1 model version answered" in text
    early = " ".join(auditor.get("/asof/?at=2020-01-01").content.decode().split())
    assert "No endpoint" in early
    refused = auditor.get("/asof/?at=soon")
    assert refused.status_code == 400 and "at: give a date" in refused.content.decode()
    stranger = page_of(make_user("stakeholder")).get("/asof/").content.decode()
    assert "care-outreach/1" not in stranger


def test_an_event_under_a_decision_leads_to_its_signatures_and_evidence(decided, page_of, make_user):  # noqa: F811
    _, gate = decided
    event = Event.objects.filter(action="deployments.traffic.changed", decision_id=str(gate.decision_id)).latest("id")
    text = page_of(make_user("auditor")).get(f"/trail/events/{event.id}/").content.decode()
    assert "its signatures and evidence" in text and f'href="/gates/{gate.id}/"' in text and "routes 1, weight" in text


def issue_for(system, phase, **changed):
    given = {
        "kind": "phase", "stage_to": "", "environment": "", "model_version_id": None, "model_version_label": "",
        "artifact_digest": "", "gate_id": uuid.uuid4(), "evidence_digest": "sha256:" + "e" * 64, "valid_days": 30,
        **({"usecase_id": phase.usecase_id, "phase_id": phase.id, "phase_name": phase.name} if phase else {}),
    } | changed  # fmt: skip
    return decisions.issue(actor=system, **given)


@pytest.fixture
def rollout(usecase, system, elena, endpoints):  # noqa: F811
    """A production endpoint whose two phases have a past: [(moment, {name: state})], what was true just after each step."""
    # In the past: the database lets a phase be opened only by a decision that is issued already.
    moment, truth, made = clock.now() - timedelta(hours=12), [], {}
    with clock.fixed(moment):
        for step in ("poc", "pilot", "production"):
            decision = issue_for(system, None, usecase_id=usecase.id, kind="stage", stage_to=step, phase_id=None, phase_name="")
            usecases.promote(actor=system, usecase_id=usecase.id, to_stage=step, decision=decision)
        endpoints("production")

    def at_next(hours, do):
        nonlocal moment
        moment += timedelta(hours=hours)
        with clock.fixed(moment):
            do()
        rows = RolloutPhase.objects.exclude(state="dropped").order_by("position")
        truth.append((moment, {r.name: r.state for r in rows}))

    def plan(name, **more):
        given = {"planned_on": date(2026, 12, 1), "entry_criteria": "Trained.", "closes_now": True} | more
        made[name] = usecases.plan_phase(actor=elena, usecase_id=usecase.id, name=name, **given)

    def opened(name):
        fresh = RolloutPhase.objects.select_related("owner").get(id=made[name].id)
        usecases.open_phase(actor=system, phase_id=fresh.id, decision=issue_for(system, fresh), signed=phase_selectors.facts(fresh))

    at_next(1, lambda: plan("Claims desk", departments=["Claims"]))
    at_next(1, lambda: plan("Everybody"))
    at_next(1, lambda: opened("Claims desk"))
    at_next(1, lambda: usecases.change_phase(actor=elena, phase_id=made["Everybody"].id, name="All", planned_on=date(2027, 1, 1)))
    at_next(1, lambda: usecases.close_phase(actor=elena, phase_id=made["Claims desk"].id, reason="Odd answers."))
    at_next(1, lambda: opened("Claims desk"))
    at_next(1, lambda: usecases.drop_phase(actor=elena, phase_id=made["Everybody"].id))
    return truth


def test_the_rollout_phases_are_told_as_they_were(rollout, system):
    for moment, states in rollout:
        (then,) = at_all(system, moment).values()
        assert {p.name: p.state for p in then.phases} == states, moment
    (first, _), *_ = rollout
    (before,) = at_all(system, first - timedelta(minutes=1)).values()
    assert before.phases == [], "without a plan, production served everybody"


def test_an_open_phase_names_its_decision_as_it_stood_then(rollout, system):
    opened, closed = rollout[2][0], rollout[4][0]
    (then,) = at_all(system, opened).values()
    phase = then.phases[0]
    assert (phase.covers, phase.since, phase.decision.why_not) == ("everybody in Claims", asof.iso(opened), "") and phase.decision.kind == "phase"
    assert then.open_to == "Claims desk (everybody in Claims)"
    (then,) = at_all(system, closed).values()
    assert then.open_to == "nobody" and "was closed: Odd answers." in then.phases[0].decision.why_not
    (then,) = at_all(system, opened).values()
    assert then.phases[0].decision.why_not == "", "what came later does not reach back"


def test_a_phase_whose_decision_had_run_out_was_open_to_nobody(rollout, system):
    (then,) = at_all(system, rollout[-1][0] + timedelta(days=40)).values()
    assert (then.phases[0].state, then.open_to) == ("ended", "nobody")


def test_phases_by_rest_and_on_the_page(rollout, api, page_of, make_user):
    opened = rollout[2][0]
    (row,) = api(make_user("auditor")).get(URL, {"at": asof.iso(opened)}).json()["results"]
    assert [(p["name"], p["state"]) for p in row["phases"]] == [("Claims desk", "open"), ("Everybody", "planned")]
    assert row["phases"][0]["decision"]["why_not"] == "" and row["phases"][0]["event_id"]
    page = " ".join(page_of(make_user("auditor")).get("/asof/", {"at": asof.iso(opened)}).content.decode().split())
    assert "open to Claims desk (everybody in Claims)" in page and "Rollout phase" in page


def test_a_pilot_endpoint_has_no_phases(rollout, endpoints, system):  # noqa: F811
    pilot = endpoints("pilot")
    assert at_all(system, clock.now() + timedelta(days=1))[pilot.slug].phases == []
