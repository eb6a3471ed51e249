"""Windows over captured traffic: judged once, silent without drift, acting when something is found."""

import json
from datetime import timedelta

import numpy as np
import pytest

from apps.core import clock
from apps.core.errors import Conflict, NotAllowed, NotFound
from apps.decisions import selectors as decisions
from apps.deployments.models import Deployment, Rollout
from apps.kpis import services as kpis
from apps.kpis.models import Measurement
from apps.monitoring import services
from apps.monitoring.models import Incident, MonitorWindow
from tests.deployments.world import actions, events, later
from tests.monitoring.traffic import Traffic

pytestmark = pytest.mark.django_db
RNG = np.random.default_rng(7)
COST = {"miss_cost": 200, "false_alarm_cost": 40, "bound_per_1k": 1_000, "min_rows": 100, "min_pairs": 400, "settle_s": 0}
DRIFT = {"min_rows": 200, "settle_s": 0}


def sample(n, shift=0.0):
    return [{"age": float(a), "visits": float(v)} for a, v in zip(RNG.normal(shift, 1, n), RNG.poisson(3 + 5 * shift, n), strict=True)]


@pytest.fixture
def folder(settings, tmp_path):
    settings.CAPTURE_DIR = tmp_path
    return tmp_path


@pytest.fixture
def live(stage):
    return stage.live(1)


@pytest.fixture
def traffic(folder, live):
    return Traffic(folder, live.endpoint)


def send(traffic, deployment, rows, at):
    return traffic.write(
        [{"features": json.dumps(r), "deployment_id": str(deployment.id), "model_version": str(deployment)} for r in rows], at
    )


@pytest.fixture
def drift(elena, live, folder):
    return services.create_monitor(
        actor=elena, endpoint_id=live.endpoint_id, kind="drift", config=DRIFT, reference={"rows": sample(2000), "source": "validation rows"}
    )


def look(actor, monitor, at_s=10):
    with clock.fixed(later(at_s)):
        return services.evaluate_monitor(actor=actor, monitor_id=monitor.id)


def test_a_control_window_stays_silent_and_a_drifted_one_opens_an_incident_with_a_hold(elena, live, traffic, drift):
    send(traffic, live, sample(600), later(1))
    first = look(elena, drift, 10)
    assert first.window.state == "quiet" and first.incident_id == "" and first.window.n == 600
    send(traffic, live, sample(600, shift=2.0), later(11))
    second = look(elena, drift, 20)
    assert second.window.state == "drift" and sorted(second.window.statistics["drifted"]) == ["age", "visits"]
    incident = Incident.objects.get(id=second.incident_id)
    assert (incident.severity, incident.deployment_id, incident.monitor_id) == ("high", live.id, drift.id)
    assert incident.numbers["drifted"]["age"]["psi"] > 1
    assert not decisions.is_live(live.decision_id, at=later(60))
    assert events("decisions.hold.placed")[0]["after"] == {"source_type": "incident", "source_id": str(incident.id)}
    assert events("monitoring.incident.opened")[0]["actor"]["label"] == "monitors"


def test_windows_follow_each_other_and_are_recorded_once(elena, live, traffic, drift):
    send(traffic, live, sample(300), later(1))
    first = look(elena, drift, 10).window
    assert look(elena, drift, 10).window is None
    again = look(elena, drift, 12)
    assert again.window is None and "0 rows" in again.detail
    send(traffic, live, sample(300), later(13))
    second = look(elena, drift, 20).window
    assert (second.started_at, second.n) == (first.ended_at, 300)
    assert MonitorWindow.objects.count() == 2 and actions().count("monitoring.window.recorded") == 2


def test_too_few_rows_wait_and_an_old_window_is_closed_unjudged(elena, live, traffic, drift):
    send(traffic, live, sample(50, shift=3.0), later(1))
    assert look(elena, drift, 10).window is None
    closed = look(elena, drift, 86_500).window
    assert (closed.state, closed.n) == ("too_few", 50) and not Incident.objects.exists()


def test_an_open_incident_is_not_opened_twice_and_is_again_after_it_was_closed(elena, live, traffic, drift):
    for number in (0, 1):
        send(traffic, live, sample(300, shift=2.0), later(1 + 10 * number))
        look(elena, drift, 10 + 10 * number)
    incident = Incident.objects.get()
    services.close_incident(actor=elena, incident_id=incident.id, resolution="The new members are known; the model was checked.")
    assert decisions.is_live(live.decision_id)
    send(traffic, live, sample(300, shift=2.0), later(25))
    look(elena, drift, 40)
    assert Incident.objects.count() == 2


def test_copies_to_a_shadow_are_not_counted_as_traffic(elena, live, traffic, drift):
    traffic.write([{"features": json.dumps(r), "shadow": True} for r in sample(300, shift=3.0)], later(1))
    assert look(elena, drift, 10).detail.startswith("0 rows")


def test_two_at_once_write_one_window(elena, live, traffic, drift, system):
    from apps.monitoring.services import evaluation, judging

    send(traffic, live, sample(300), later(1))
    until = later(10)
    judged = judging.drift(drift, drift.cursor_at, until)
    first = evaluation._record(elena, drift, judged, drift.cursor_at, until)
    second = evaluation._record(system, drift, judged, drift.cursor_at, until)
    assert first.window is not None and second.window is None and MonitorWindow.objects.count() == 1


def test_captured_traffic_can_be_the_reference(elena, live, traffic, folder):
    since = later(1)
    send(traffic, live, sample(500), since)
    made = services.create_monitor(
        actor=elena, endpoint_id=live.endpoint_id, kind="drift", config=DRIFT,
        reference={"since": since.isoformat(), "until": later(5).isoformat()},
    )  # fmt: skip
    assert made.reference["n"] == 500 and sorted(made.reference["features"]) == ["age", "visits"]
    copy = services.create_monitor(actor=elena, endpoint_id=live.endpoint_id, kind="drift", config=DRIFT, reference={"monitor": str(made.id)})
    made.refresh_from_db()
    assert copy.reference_digest == made.reference_digest and not made.active
    with pytest.raises(Conflict, match="retired"):
        look(elena, made)


def test_strangers_do_not_find_it_and_readers_may_not_evaluate(make_user, actor_of, drift):
    with pytest.raises(NotFound):
        services.evaluate_monitor(actor=actor_of(make_user("ml_engineer")), monitor_id=drift.id)
    with pytest.raises(NotAllowed):
        services.evaluate_monitor(actor=actor_of(make_user("auditor")), monitor_id=drift.id)


# --- cost -----------------------------------------------------------------------------------------


@pytest.fixture
def pair(stage, live):
    """v2 answers, v1 gets copies."""
    rollout = stage.request(2, strategy="canary", bake_s=0)
    stage.make_ready(rollout.to_deployment, port=9002)
    stage.advance(rollout.endpoint)
    stage.advance(rollout.endpoint)
    live.refresh_from_db()
    assert live.role == "shadow"
    return Deployment.objects.get(id=rollout.to_deployment_id), live


@pytest.fixture
def cost(elena, usecase, live, folder):
    for slug, aggregation in (("cost", "mean"), ("cost-ratio", "ratio"), ("recall", "mean")):
        kpis.define_kpi(
            actor=elena, usecase_id=usecase.id, name=slug, dimension="business", unit="USD", direction="lower", aggregation=aggregation,
            scale=1000.0 if aggregation == "ratio" else 1.0,
        )  # fmt: skip
    return services.create_monitor(
        actor=elena, endpoint_id=live.endpoint_id, kind="cost", config=COST | {"kpis": {"cost_per_1k": "Cost", "recall": "recall"}}
    )


def label(actor, endpoint, ids, values, at):
    with clock.fixed(at):
        return services.record_labels(
            actor=actor, endpoint_id=endpoint.id, rows=[{"request_id": i, "row": 0, "label": v} for i, v in zip(ids, values, strict=True)]
        )


def test_a_dearer_version_is_rolled_back_with_incident_hold_and_trail(elena, traffic, pair, cost):
    new, old = pair
    # Of 500 rows 100 are events that the new version misses and the old one catches: 200 each.
    ids = traffic.both(new, old, [(0, 1)] * 100 + [(0, 0)] * 400, later(1))
    label(elena, new.endpoint, ids, [1] * 100 + [0] * 400, later(3))
    found = look(elena, cost, 10)
    comparison = found.window.statistics["comparison"]
    assert found.window.state == "worse" and comparison["pairs"] == 500
    assert comparison["difference_per_1k"] == pytest.approx(40_000) and 30_000 < comparison["low_per_1k"] < 40_000
    assert (comparison["new_cost_per_1k"], comparison["old_cost_per_1k"]) == (pytest.approx(40_000), 0)
    new.refresh_from_db()
    old.refresh_from_db()
    assert (old.role, old.weight, new.role, new.weight) == ("live", 100, "standby", 0)
    incident = Incident.objects.get()
    rollout = Rollout.objects.get(to_deployment=new)
    assert (incident.severity, incident.rollout_id, incident.deployment_id) == ("critical", rollout.id, new.id)
    assert rollout.state == "rolled_back" and "95% interval" in rollout.reason
    assert not decisions.is_live(new.decision_id, at=later(60)) and decisions.is_live(old.decision_id, at=later(60))
    assert events("deployments.rollout.rolled_back")[0]["actor"]["label"] == "monitors"


def test_measurements_of_the_answering_version_reach_the_kpis_once(elena, traffic, pair, cost):
    new, old = pair
    ids = traffic.both(new, old, [(1, 1)] * 50 + [(0, 1)] * 50 + [(1, 0)] * 100, later(1))
    label(elena, new.endpoint, ids, [1] * 100 + [0] * 100, later(3))
    look(elena, cost, 10)
    rows = {m.kpi.slug: m for m in Measurement.objects.select_related("kpi")}
    assert set(rows) == {"cost", "recall"}
    assert (rows["cost"].version_label, rows["cost"].n) == ("care-outreach/2", 200)
    assert rows["cost"].value == pytest.approx((50 * 200 + 100 * 40) / 200 * 1000) and rows["recall"].value == 0.5
    assert rows["cost"].source.startswith("portal") and rows["cost"].variance > 0
    assert (rows["cost"].origin, rows["cost"].counts) == ("measured", f"labelled predictions, labels sent by {elena.label}")
    look(elena, cost, 20)
    assert Measurement.objects.count() == 2


def test_running_costs_are_metered_up_to_the_same_moment(elena, usecase, traffic, pair, cost, rate_card):
    from apps.kpis.models import CostEntry

    new, old = pair
    ids = traffic.both(new, old, [(1, 1)] * 120, later(1))
    label(elena, new.endpoint, ids, [1] * 120, later(3))
    look(elena, cost, 3600)
    entry = CostEntry.objects.get()
    # Two engines of one core for an hour.
    assert float(entry.amount) == pytest.approx(2 * 0.048, rel=0.02) and entry.usecase_id == usecase.id


def test_an_equal_version_stays_and_pairs_add_up_over_windows(elena, traffic, pair, cost):
    new, old = pair
    for number in range(3):
        ids = traffic.both(new, old, [(0, 1)] * 10 + [(1, 0)] * 10 + [(0, 0)] * 130, later(1 + 10 * number))
        label(elena, new.endpoint, ids, [1] * 20 + [0] * 130, later(3 + 10 * number))
        found = look(elena, cost, 10 + 10 * number).window
    assert (found.n, found.statistics["comparison"]["pairs"], found.state) == (150, 450, "quiet")
    assert MonitorWindow.objects.order_by("id").first().state == "too_few"
    assert not Incident.objects.exists()
    assert Deployment.objects.get(id=new.id).role == "live"


def test_labels_by_the_callers_own_id_count_too_and_those_without_prediction_are_said(elena, traffic, live, cost):
    traffic.write(
        [{"client_id": f"mine-{i}", "deployment_id": str(live.id), "prediction": "1"} for i in range(120)], later(1)
    )
    label(elena, live.endpoint, [f"mine-{i}" for i in range(120)] + ["nobody"], [1] * 121, later(3))
    found = look(elena, cost, 10).window
    assert (found.n, found.statistics["labels"], found.statistics["without_prediction"]) == (120, 121, 1)
    assert found.statistics["versions"]["care-outreach/1"]["cost_per_1k"] == 0


def test_a_correction_counts_in_its_own_window_and_never_twice(elena, traffic, live, cost):
    ids = traffic.write([{"deployment_id": str(live.id), "prediction": "1"} for _ in range(300)], later(1))
    label(elena, live.endpoint, ids[:150], [1] * 150, later(3))
    with clock.fixed(later(4)):
        wrong = [{"request_id": i, "label": 0} for i in ids[:30]]
        assert services.record_labels(actor=elena, endpoint_id=live.endpoint_id, rows=wrong, correct=True).corrected == 30
    first = look(elena, cost, 10).window
    assert (first.n, first.statistics["corrections_of_earlier_windows"]) == (150, 0)
    assert first.statistics["versions"]["care-outreach/1"]["cost_per_1k"] == pytest.approx(30 * 40 / 150 * 1000)
    label(elena, live.endpoint, ids[150:], [1] * 150, later(13))
    with clock.fixed(later(14)):
        back = [{"request_id": i, "label": 1} for i in ids[:20]]
        services.record_labels(actor=elena, endpoint_id=live.endpoint_id, rows=back, correct=True)
    second = look(elena, cost, 20).window
    assert (second.n, second.statistics["corrections_of_earlier_windows"]) == (150, 20)
    assert second.statistics["versions"]["care-outreach/1"]["cost_per_1k"] == 0
    first.refresh_from_db()
    assert first.statistics["versions"]["care-outreach/1"]["cost_per_1k"] == pytest.approx(8000), "what was judged stays"


def test_where_there_is_no_way_back_the_incident_says_so(elena, traffic, pair, cost, system):
    from apps.decisions import services as decide

    new, old = pair
    decide.revoke(actor=system, decision_id=old.decision_id, reason="Wrong evidence.")
    ids = traffic.both(new, old, [(0, 1)] * 100 + [(0, 0)] * 400, later(1))
    label(elena, new.endpoint, ids, [1] * 100 + [0] * 400, later(3))
    look(elena, cost, 10)
    incident = Incident.objects.get()
    assert incident.rollout is None and "not rolled back" in incident.detail and "revoked" in incident.detail
    assert Deployment.objects.get(id=new.id).weight == 100


def test_rolling_back_can_be_left_to_people(elena, traffic, pair, folder):
    new, old = pair
    monitor = services.create_monitor(actor=elena, endpoint_id=new.endpoint_id, kind="cost", config=COST | {"auto_roll_back": 0})
    ids = traffic.both(new, old, [(0, 1)] * 100 + [(0, 0)] * 400, later(1))
    label(elena, new.endpoint, ids, [1] * 100 + [0] * 400, later(3))
    look(elena, monitor, 10)
    assert Incident.objects.get().rollout is None and Deployment.objects.get(id=new.id).weight == 100


# --- latency and the clock ------------------------------------------------------------------------


def test_slow_answers_open_an_incident_without_a_hold(elena, live, traffic):
    monitor = services.create_monitor(actor=elena, endpoint_id=live.endpoint_id, kind="latency", config={"min_rows": 100, "settle_s": 0})
    traffic.write([{"latency_ms": 5.0, "deployment_id": str(live.id)} for _ in range(200)], later(1))
    assert look(elena, monitor, 10).window.state == "quiet"
    traffic.write([{"latency_ms": 500.0 if i % 20 == 0 else 5.0, "deployment_id": str(live.id)} for i in range(200)], later(11))
    found = look(elena, monitor, 20).window
    assert found.state == "worse" and found.statistics["target_ms"] == 100.0 and found.statistics["p99_ms"] == 500.0
    assert Incident.objects.get().hold_id is None and decisions.is_live(live.decision_id)


def test_the_clock_evaluates_all_monitors_and_one_that_fails_does_not_stop_the_others(system, elena, live, traffic, drift, cost):
    from apps.monitoring.models import Monitor

    Monitor.objects.filter(id=cost.id).update(config={})
    send(traffic, live, sample(300), later(1))
    with clock.fixed(later(10)):
        assert services.evaluate_due(actor=system) == 1
    assert MonitorWindow.objects.get().monitor_id == drift.id


def test_rows_settle_before_they_are_judged(elena, live, traffic, folder):
    monitor = services.create_monitor(
        actor=elena, endpoint_id=live.endpoint_id, kind="drift", config={"min_rows": 200, "settle_s": 5}, reference={"rows": sample(500)}
    )
    at = clock.now() + timedelta(seconds=8)
    send(traffic, live, sample(300), at)
    with clock.fixed(at + timedelta(seconds=4)):
        assert services.evaluate_monitor(actor=elena, monitor_id=monitor.id).window is None
    with clock.fixed(at + timedelta(seconds=6)):
        assert services.evaluate_monitor(actor=elena, monitor_id=monitor.id).window.n == 300
