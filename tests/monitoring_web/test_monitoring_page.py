"""The monitoring page: what the monitors found, incidents, and the doors behind its forms."""

import json
from datetime import timedelta

import numpy as np
import pytest

from apps.core import clock
from apps.decisions import selectors as decisions
from apps.deployments.models import Rollout
from apps.kpis import services as kpis
from apps.monitoring import services
from apps.monitoring.models import Incident, Monitor, MonitorWindow
from tests.deployments.world import later
from tests.deployments_web.conftest import words

pytestmark = pytest.mark.django_db
RNG = np.random.default_rng(11)
COST = {"miss_cost": 200, "false_alarm_cost": 40, "bound_per_1k": 1_000, "min_rows": 100, "min_pairs": 400, "settle_s": 0}


def at(endpoint, rest=""):
    return f"/endpoints/{endpoint.slug}/monitoring/{rest}"


def sample(n, shift=0.0):
    return [{"age": float(a), "visits": float(v)} for a, v in zip(RNG.normal(shift, 1, n), RNG.poisson(3 + 5 * shift, n), strict=True)]


def send(traffic, deployment, rows, at_s=1):
    return traffic.write(
        [{"features": json.dumps(r), "deployment_id": str(deployment.id), "model_version": str(deployment)} for r in rows], later(at_s)
    )


def look(actor, monitor, at_s=10):
    with clock.fixed(later(at_s)):
        return services.evaluate_monitor(actor=actor, monitor_id=monitor.id)


@pytest.fixture
def drift(elena, live):
    return services.create_monitor(
        actor=elena, endpoint_id=live.endpoint_id, kind="drift", config={"min_rows": 200, "settle_s": 0},
        reference={"rows": sample(2000), "source": "validation rows"},
    )  # fmt: skip


@pytest.fixture
def drifted(elena, live, traffic, drift):
    """A window that found drift, with its incident."""
    send(traffic, live, sample(600, shift=2.0))
    return look(elena, drift)


@pytest.fixture
def dearer(elena, stage, live, traffic):
    """Version 2 answered, version 1 got copies, and 2 was found dearer: rolled back."""
    new = stage.live(2, strategy="canary", steps=[100], bake_s=0)
    monitor = services.create_monitor(actor=elena, endpoint_id=live.endpoint_id, kind="cost", config=COST)
    truth = [int(x) for x in RNG.random(800) < 0.3]
    ids = traffic.both(new, live, [(0, t) for t in truth], later(1))
    services.record_labels(
        actor=elena, endpoint_id=live.endpoint_id, rows=[{"request_id": i, "label": t} for i, t in zip(ids, truth, strict=True)]
    )
    return look(elena, monitor)


def test_labels_without_a_prediction_and_corrected_ones_are_shown_with_who_sent_them(browser, elena, live, traffic):
    assert "No label yet." in browser.get(at(live.endpoint)).content.decode()
    known = send(traffic, live, sample(1))[0]
    for rows, correct in (
        ([{"request_id": known, "label": 1}, {"request_id": "lost-1", "label": 1}], False),
        ([{"request_id": known, "label": 0}], True),
    ):
        services.record_labels(actor=elena, endpoint_id=live.endpoint_id, rows=rows, correct=correct)
    text = " ".join(browser.get(at(live.endpoint)).content.decode().split())
    assert "<code>lost-1</code>" in text and "no captured answer has their id" in text
    assert f"<code>{known}</code>" in text and "the first value is kept beside the new one" in text and elena.label in text


# --- what it shows ------------------------------------------------------------------------------------


def test_who_may_read_it(client, page_of, make_user, browser, live):
    path = at(live.endpoint)
    assert client.get(path).status_code == 302
    assert browser.get(path).status_code == 200
    for role, status in {"auditor": 200, "admin": 200, "stakeholder": 404, "ml_engineer": 404, "approver:risk": 404}.items():
        assert page_of(make_user(role)).get(path).status_code == status, role


def test_without_monitors_it_says_what_one_would_do_and_offers_it(browser, page_of, make_user, live):
    text = words(browser.get(at(live.endpoint)))
    assert "Nobody watches this endpoint yet." in text and "Watch the inputs" in text and "No window yet." in text
    reader = words(page_of(make_user("auditor")).get(at(live.endpoint)))
    assert "An engineer of the use case can begin one here." in reader and "<button" not in reader[reader.index('id="work"') :]


def test_a_calm_window_is_quiet_with_its_figures(browser, elena, live, traffic, drift):
    send(traffic, live, sample(600))
    look(elena, drift)
    text = words(browser.get(at(live.endpoint)))
    assert "All quiet." in text and "the largest window had 600 rows" in text
    assert "none of 2 features drifted" in text and "against 2,000 of validation rows" in text and 'id="drift-chart"' in text


def test_drift_is_said_first_with_the_hold_and_the_numbers(browser, live, drifted):
    text = words(browser.get(at(live.endpoint)))
    assert "An incident is open: inputs have drifted: 2 of 2 features." in text
    assert "The decision for care-outreach/1 is on hold until it is closed." in text
    assert "rows compared</dt><dd>600" in text and "may not start again or get more traffic" in text
    assert '<span class="state fail">drifted</span>' in text


def test_a_dearer_version_shows_both_costs_the_interval_and_the_way_back(browser, live, dearer):
    assert dearer.window.state == "worse" and Rollout.objects.latest("id").state == "rolled_back"
    text = words(browser.get(at(live.endpoint)))
    assert "care-outreach/2 costs more than care-outreach/1" in text and "beyond it for certain" in text and 'id="cost-chart"' in text
    assert "All traffic went back to <strong>care-outreach/1</strong>" in text and "95% interval" in text


def test_answer_times_are_drawn_and_judged(browser, elena, live, traffic):
    monitor = services.create_monitor(
        actor=elena, endpoint_id=live.endpoint_id, kind="latency", config={"p99_ms": 2, "min_rows": 50, "settle_s": 0}
    )
    send(traffic, live, sample(60))
    look(elena, monitor)
    text = words(browser.get(at(live.endpoint)))
    assert (
        "answers are slow: p99 4 ms" in text
        and "99 of 100 answers within 4 ms, bound 2 ms" in text
        and "No decision is on hold for it." in text
    )
    assert 'id="latency-chart"' in text


def test_many_windows_and_incidents_cost_no_more_queries(browser, elena, live, drift, django_assert_max_num_queries):
    moment = later(0)
    for number in range(60):
        MonitorWindow.objects.create(
            monitor=drift,
            started_at=moment + timedelta(seconds=number),
            ended_at=moment + timedelta(seconds=number + 1),
            n=1,
            state="too_few",
        )
    for number in range(15):
        made = services.open_incident(
            actor=elena, endpoint_id=live.endpoint_id, severity="low", title=f"T {number}", detail="d", hold=False
        )
        services.close_incident(actor=elena, incident_id=made.id, resolution="Done.")
    with django_assert_max_num_queries(28):
        assert "T 3" in words(browser.get(at(live.endpoint)))


def test_the_windows_are_a_csv_file(browser, live, drifted):
    answer = browser.get(at(live.endpoint, "windows.csv"))
    lines = answer.content.decode().splitlines()
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{live.endpoint.slug}-windows.csv"'
    assert lines[0] == "monitor,kind,started_at,ended_at,rows,state,found" and len(lines) == 2 and ",600,drift," in lines[1]


# --- what it does -------------------------------------------------------------------------------------


def press(browser, path, **data):
    return words(browser.post(path, data, follow=True))


def test_an_incident_is_closed_with_what_was_done_and_its_hold_is_lifted(browser, live, drifted):
    incident = Incident.objects.get()
    path = at(live.endpoint, f"incidents/{incident.id}/close/")
    refused = browser.post(path, {"resolution": " "})
    assert refused.status_code == 400 and "resolution: say what was done about it." in words(refused)
    said = press(browser, path, resolution="Retrained on newer rows.")
    assert "The incident is closed. Its hold on the decision is lifted." in said and "Retrained on newer rows." in said
    assert "No incident is open," in said and "found drift" in said
    assert decisions.is_live(live.decision_id)


def test_an_incident_of_another_endpoint_is_not_found(browser, endpoints, live, drifted):
    other = endpoints("production")
    assert browser.post(at(other, f"incidents/{Incident.objects.get().id}/close/"), {"resolution": "x"}).status_code == 404


def test_an_incident_is_opened_by_hand(browser, live):
    given = {"title": "Odd lists", "detail": "The desk saw the same member twice.", "severity": "critical", "hold": "on"}
    refused = browser.post(at(live.endpoint, "incidents/"), given | {"title": ""})
    assert refused.status_code == 400 and "The desk saw the same member twice." in words(refused)
    assert "The incident is open, and the decision of the answering version is on hold." in press(
        browser, at(live.endpoint, "incidents/"), **given
    )
    assert not decisions.is_live(live.decision_id)
    assert "The incident is open." in press(browser, at(live.endpoint, "incidents/"), **{**given, "title": "Another", "hold": ""})


def test_a_monitor_judges_now_or_says_what_is_missing(browser, live, traffic, drift):
    path = at(live.endpoint, f"monitors/{drift.id}/judge/")
    assert "nothing to judge yet. 0 rows since" in press(browser, path)
    send(traffic, live, sample(300, shift=2.0), at_s=0)
    with clock.fixed(later(20)):
        said = press(browser, path)
    assert "drift. 2 of 2 features drifted" in said and "An incident is open." in said
    assert MonitorWindow.objects.get().state == "drift"


def test_inputs_are_watched_from_captured_traffic(browser, live, traffic):
    send(traffic, live, sample(500), at_s=-3600)
    path = at(live.endpoint, "create/drift/")
    given = {
        "reference": "captured",
        "since": f"{later(-7200):%Y-%m-%dT%H:%M}",
        "until": f"{later(0):%Y-%m-%dT%H:%M}",
        "psi_bound": "0.3",
        "drifted_share": "0.5",
    }
    assert "give the time whose traffic was calm" in words(browser.post(path, given | {"until": ""}))
    empty = browser.post(path, given | {"since": "2020-01-01T00:00", "until": "2020-01-02T00:00"})
    assert empty.status_code == 400 and "nothing was captured in this time" in words(empty) and 'value="2020-01-01T00:00"' in words(empty)
    assert "Inputs: watched from now on." in press(browser, path, **given)
    monitor = Monitor.objects.get()
    assert (monitor.config["psi_bound"], monitor.config["drifted_share"], monitor.reference["n"]) == (0.3, 0.5, 500)


def test_a_new_monitor_takes_the_reference_of_another_and_retires_the_old_one(browser, live, drift):
    said = press(browser, at(live.endpoint, "create/drift/"), reference=str(drift.id), psi_bound="0.4")
    assert "Inputs: watched from now on." in said
    drift.refresh_from_db()
    new = Monitor.objects.get(active=True)
    assert not drift.active and new.reference == drift.reference and new.name == drift.name
    # What the form does not ask stays as it was.
    assert new.config["settle_s"] == 0


def test_the_cost_of_decisions_is_watched_and_feeds_a_kpi(browser, elena, live, usecase):
    kpi = kpis.define_kpi(
        actor=elena, usecase_id=usecase.id, name="Cost per 1,000", dimension="business", unit="USD", direction="lower", aggregation="mean",
        target=1, floor=2, primary=True, cadence="weekly",
    )  # fmt: skip
    path = at(live.endpoint, "create/cost/")
    given = {"miss_cost": "200", "false_alarm_cost": "40", "bound_per_1k": "", "auto_roll_back": "0", "kpi_cost_per_1k": kpi.slug}
    refused = browser.post(path, given)
    assert refused.status_code == 400 and "bound_per_1k: needed." in words(refused) and 'name="miss_cost" value="200"' in words(refused)
    assert "bound_per_1k: give a number from 0" in words(browser.post(path, given | {"bound_per_1k": "-1"}))
    assert "Cost of decisions: watched from now on." in press(browser, path, **given | {"bound_per_1k": "1000"})
    config = Monitor.objects.get().config
    assert (config["bound_per_1k"], config["auto_roll_back"], config["kpis"]) == (1000.0, 0, {"cost_per_1k": kpi.slug})


def test_answer_times_are_watched_and_watching_ends(browser, live):
    assert "Answer time: watched from now on." in press(browser, at(live.endpoint, "create/latency/"), p99_ms="150", min_rows="50")
    monitor = Monitor.objects.get()
    assert "watches no longer." in press(browser, at(live.endpoint, f"monitors/{monitor.id}/retire/"))
    monitor.refresh_from_db()
    assert not monitor.active
    assert "it is retired" in press(browser, at(live.endpoint, f"monitors/{monitor.id}/judge/"))


def test_a_kind_nobody_knows_is_not_found(browser, live):
    assert browser.post(at(live.endpoint, "create/weather/")).status_code == 404


def test_who_may_only_see_gets_no_form_and_is_refused(page_of, make_user, live, drift, drifted):
    auditor = page_of(make_user("auditor"))
    assert "Set up and report" not in words(auditor.get(at(live.endpoint)))
    incident = Incident.objects.get()
    for rest, data in {
        "create/latency/": {"p99_ms": "5"}, f"monitors/{drift.id}/retire/": {}, "incidents/": {"title": "t", "detail": "d", "severity": "low"},
        f"incidents/{incident.id}/close/": {"resolution": "x"},
    }.items():  # fmt: skip
        assert auditor.post(at(live.endpoint, rest), data).status_code == 403, rest
    assert "You may see this use case but not change it." in press(auditor, at(live.endpoint, f"monitors/{drift.id}/judge/"))
    assert Monitor.objects.get().active and Incident.objects.get().closed_at is None
