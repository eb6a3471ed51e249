"""The report of a load test, and asking for one."""

import uuid

import pytest

from apps.loadtests import services
from apps.loadtests.models import LoadRun
from celery_worker import orders
from tests.deployments_web.conftest import words

pytestmark = pytest.mark.django_db
ROWS = [{"age": 1.0, "visits": 2.0}]


@pytest.fixture
def deployment(stage):
    return stage.live(1)


@pytest.fixture
def run(elena, deployment, rate_card):
    return services.request_run(actor=elena, deployment_id=deployment.id, multiplier=10, duration_s=6, examples=ROWS)


def finish(system, agent, run, p99):
    from apps.core import clock
    from apps.deployments.models import AgentReport

    run = services.dispatch_run(actor=system, run_id=run.id)
    moment = orders.time_to_text(clock.now())
    body = {
        "run_id": str(run.id), "order_id": str(run.order_id), "deployment_id": str(run.deployment_id), "rate_rps": run.rate_rps,
        "duration_s": run.duration_s, "sent": 600, "completed": 600, "errors": 0, "error_share": 0.0,
        "latency_ms": {"p50": 1.0, "p90": 2.0, "p95": 3.0, "p99": p99, "max": 500.0, "mean": 1.5}, "throughput_rps": 100.0,
        "schedule": "poisson", "started_at": moment, "finished_at": moment, "max_send_lag_ms": 0.3, "interrupted": False,
    }  # fmt: skip
    agent.send("load_test", body)
    report = AgentReport.objects.get(kind="load_test")
    return services.record_result(actor=system, host_id=report.host_id, report_id=report.report_id)


def at(run):
    return f"/load-tests/{run.id}/"


def test_who_may_read_it(client, page_of, make_user, browser, run):
    assert client.get(at(run)).status_code == 302
    assert browser.get(at(run)).status_code == 200
    for role, status in {"auditor": 200, "stakeholder": 404, "ml_engineer": 404}.items():
        assert page_of(make_user(role)).get(at(run)).status_code == status, role


def test_a_run_under_way_is_asked_for_again_until_it_is_over(browser, run, system, agent):
    text = words(browser.get(at(run)))
    assert 'hx-trigger="every 2s"' in text and "The run is on its way to local." in text
    assert browser.get(at(run), headers={"HX-Request": "true"}).status_code == 200
    finish(system, agent, run, 40.0)
    over = browser.get(at(run), headers={"HX-Request": "true"})
    assert over.status_code == 286 and "<html" not in words(over)
    assert "hx-trigger" not in words(browser.get(at(run)))


def test_a_version_that_holds_says_so_first_with_figures_cost_and_how_it_was_made(browser, run, system, agent):
    finish(system, agent, run, 40.0)
    text = words(browser.get(at(run)))
    assert "care-outreach/1 holds it: 99 of 100 answers came within 40 ms" in text and "at most 100 ms are allowed" in text and "this one alone" in text
    assert "600 <small>of 600</small>" in text and "0 errors, 100 a second" in text and "0.048 USD a CPU hour" in text
    assert "100 requests a second (10 times the projected 10) for 6 s" in text and 'id="latency"' in text


def test_a_version_that_does_not_hold_says_why(browser, run, system, agent):
    finish(system, agent, run, 250.0)
    assert "does not hold it.</strong> p99 was 250.0 ms, at most 100 ms was asked." in words(browser.get(at(run)))


def test_every_run_at_the_same_load_counts_not_only_the_best(browser, run, system, agent):
    finish(system, agent, run, 250.0)
    again = LoadRun.objects.get(id=run.id)
    again.id, again.passed, again._state.adding = uuid.uuid4(), True, True
    again.save()
    assert "2 of these files: 1 passed, 1 did not. All of them count, not only the best." in words(browser.get(at(again)))


def test_other_runs_of_the_same_files_are_beside_it(browser, elena, run, system, agent, deployment):
    finish(system, agent, run, 40.0)
    second = services.request_run(actor=elena, deployment_id=deployment.id, multiplier=1, duration_s=5, examples=ROWS)
    text = words(browser.get(at(second)))
    assert "Other runs of the same files" in text and at(run) in text and "40 ms" in text


# --- asking for one -----------------------------------------------------------------------------------


def ask(browser, deployment, **changed):
    given = {"deployment": str(deployment.id), "multiplier": "10", "duration_s": "5"} | changed
    return browser.post("/load-tests/start/", given, follow=True)


def test_a_run_is_asked_for_and_its_report_opened(browser, deployment):
    answer = ask(browser, deployment)
    run = LoadRun.objects.get()
    assert answer.redirect_chain[-1][0] == at(run) and (run.multiplier, run.duration_s) == (10.0, 5.0)
    assert "a load test runs on it already" in words(ask(browser, deployment))


@pytest.mark.parametrize(
    ("changed", "words_of_refusal"),
    [
        ({"multiplier": ""}, "multiplier: needed"),
        ({"duration_s": "long"}, "duration_s: write a plain number"),
        ({"multiplier": "-1"}, "multiplier: give a number from"),
        ({"multiplier": "1000", "duration_s": "900"}, "Ask for less."),
    ],
)
def test_what_cannot_be_sent_is_refused_on_the_endpoints_page(browser, deployment, changed, words_of_refusal):
    assert words_of_refusal in words(ask(browser, deployment, **changed)) and not LoadRun.objects.exists()


def test_production_traffic_is_left_alone(browser, stage):
    live = stage.live(1, "production")
    assert "it answers production traffic" in words(ask(browser, live))
    assert "What answers production traffic is not load-tested" in words(browser.get(f"/endpoints/{live.endpoint.slug}/"))


def test_strangers_find_no_deployment(client, page_of, make_user, deployment):
    assert ask(page_of(make_user("ml_engineer")), deployment).status_code == 404
    assert client.post("/load-tests/start/", {"deployment": str(deployment.id)}).status_code == 302
