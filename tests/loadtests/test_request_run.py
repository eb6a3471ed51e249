"""Load tests: asked for as a multiple of the projected load, ordered by control, judged and priced from a signed report."""

import json

import pytest

from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.core.evidence import EvidenceSubject
from apps.deployments.models import Deployment, WorkOrder
from apps.loadtests import rules, selectors, services
from apps.loadtests.evidence import CHECKS
from apps.loadtests.gateways import examples
from apps.loadtests.models import LoadRun
from apps.usecases import services as usecase_services
from celery_worker import orders
from tests.deployments.world import DIGESTS, actions, events, later, messages

pytestmark = pytest.mark.django_db
ROWS = [{"age": 1.0, "visits": 2.0}]


@pytest.fixture
def deployment(stage):
    return stage.live(1)


def ask(actor, deployment, **changed):
    given = {"multiplier": 10, "duration_s": 6, "examples": ROWS} | changed
    return services.request_run(actor=actor, deployment_id=deployment.id, **given)


def outcome(run, **changed):
    latency = {"p50": 1.0, "p90": 2.0, "p95": 3.0, "p99": 40.0, "max": 50.0, "mean": 1.5} | changed.pop("latency_ms", {})
    moment = orders.time_to_text(clock.now())
    return {
        "run_id": str(run.id), "order_id": str(run.order_id), "deployment_id": str(run.deployment_id), "rate_rps": run.rate_rps,
        "duration_s": run.duration_s, "sent": 600, "completed": 600, "errors": 0, "error_share": 0.0, "latency_ms": latency,
        "throughput_rps": 100.0, "schedule": "poisson", "started_at": moment, "finished_at": moment, "max_send_lag_ms": 0.3,
        "interrupted": False,
    } | changed  # fmt: skip


@pytest.fixture
def finish(stage, system):
    """finish(run) -> the run after the agent's report was received and taken in."""

    def make(run, **changed):
        services.dispatch_run(actor=system, run_id=run.id)
        run.refresh_from_db()
        stage.agent.send("load_test", outcome(run, **changed))
        body = messages("loadtests.record")[-1]
        services.record_result(actor=system, **body)
        assert services.record_result(actor=system, **body) is None
        run.refresh_from_db()
        return run

    return make


def test_a_run_is_asked_for_ordered_measured_judged_and_priced(stage, elena, system, deployment, control, rate_card, finish):
    run = ask(elena, deployment)
    assert (run.rate_rps, run.latency_target_ms, run.state) == (100.0, 100.0, "requested")
    assert messages("loadtests.dispatch") == [{"run_id": str(run.id)}]
    run = finish(run)
    assert (run.state, run.passed, run.p99_ms, run.throughput_rps) == ("done", True, 40.0, 100.0)
    # 1 core x 0.048 an hour over 360,000 answers an hour
    assert run.cost_per_1k == pytest.approx(0.048 / 360_000 * 1000) and run.currency == "USD"
    assert run.rate_card["id"] == str(rate_card.id)
    assert actions().count("loadtests.run.finished") == 1
    assert WorkOrder.objects.get(kind="load_test").state == "done"


def test_the_price_counts_the_memory_that_the_engine_holds(elena, deployment, control, rate_card, finish):
    run = finish(ask(elena, deployment), memory_bytes=3 * 2**29)
    assert run.cost_per_1k == pytest.approx((0.048 + 1.5 * 0.006) / 360_000 * 1000)
    assert (run.rate_card["memory_gib"], run.rate_card["gpus"], run.rate_card["cpu_cores"]) == (1.5, 0, 1.0)


@pytest.mark.parametrize("told", [None, True, -1, "much"])
def test_memory_that_was_not_told_is_not_priced(elena, deployment, control, rate_card, finish, told):
    run = finish(ask(elena, deployment), memory_bytes=told)
    assert run.cost_per_1k == pytest.approx(0.048 / 360_000 * 1000) and run.rate_card["memory_gib"] is None


def test_gpus_of_the_engines_start_are_priced(elena, deployment, control, rate_card, finish):
    deployment.starts.update(gpus=2)
    run = finish(ask(elena, deployment))
    assert run.cost_per_1k == pytest.approx((0.048 + 2 * float(rate_card.gpu_hour)) / 360_000 * 1000)


def test_the_order_is_signed_and_carries_rate_seed_and_rows(elena, system, deployment, control):
    run = ask(elena, deployment)
    services.dispatch_run(actor=system, run_id=run.id)
    services.dispatch_run(actor=system, run_id=run.id)
    order = WorkOrder.objects.get(kind="load_test")
    public = orders.load_private_key(control.ORDER_KEY).public_key()
    payload = orders.verify(order.envelope, keys={orders.key_id(public): public})
    orders.check_order(payload, audience="local", now=clock.now())
    assert payload["load"] == {"run_id": str(run.id), "rate_rps": 100, "duration_s": 6, "seed": 20190, "examples": ROWS}
    assert payload["generation"] == 2
    deployment.refresh_from_db()
    assert deployment.observed_generation == 1, "the engine goes on under its own start"


def test_the_generator_of_the_agent_reads_the_order(elena, system, deployment, control):
    load = pytest.importorskip("celery_worker.agent.load")
    run = ask(elena, deployment)
    services.dispatch_run(actor=system, run_id=run.id)
    plan = load.LoadPlan.from_order(json.loads(WorkOrder.objects.get(kind="load_test").envelope["payload"])["load"])
    assert (plan.rate_rps, plan.duration_s, len(plan.bodies)) == (100.0, 6.0, 1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"latency_ms": {"p99": 140.0}}, "p99 was 140.0 ms"), ({"errors": 6, "error_share": 0.01}, "1.00% of requests failed"),
        ({"interrupted": True}, "broken off"), ({"sent": 300, "completed": 300}, "Only 300"),
        ({"completed": 0, "latency_ms": {"p99": None}}, "Nothing was answered"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_said(elena, deployment, finish, changed, words):
    run = finish(ask(elena, deployment), **changed)
    assert run.state == "done" and run.passed is False and words in run.detail


def test_an_unreadable_report_fails_the_run(elena, deployment, finish):
    run = finish(ask(elena, deployment), sent="many")
    assert run.state == "failed" and "not readable" in run.detail


def test_a_result_nobody_ordered_is_refused(stage, elena, deployment, system):
    run = ask(elena, deployment)
    services.dispatch_run(actor=system, run_id=run.id)
    run.refresh_from_db()
    other = WorkOrder.objects.filter(kind="start").first()
    stage.agent.send("load_test", outcome(run, order_id=str(other.id)))
    assert messages("loadtests.record") == []
    assert events("deployments.report.refused")[0]["after"]["reason"] == "misaddressed"


def test_without_rows_the_models_own_example_is_sent(elena, stage, versions, system, monkeypatch):
    text = json.dumps({"dataframe_split": {"columns": ["age", "visits"], "data": [[1.0, 2.0], [3.0, 4.0]]}})
    versions(1, {"serving_input_example.json": examples.sha256_hex(text)})
    deployment = stage.live(1)
    monkeypatch.setattr(examples.artifacts, "read_text", lambda root, path, most_bytes: text)
    run = ask(elena, deployment, examples=None)
    services.dispatch_run(actor=system, run_id=run.id)
    run.refresh_from_db()
    assert run.examples == [{"age": 1.0, "visits": 2.0}, {"age": 3.0, "visits": 4.0}] and run.state == "sent"


def test_an_example_that_is_not_the_registered_file_is_not_sent(elena, stage, versions, system, monkeypatch):
    versions(1, {"input_example.json": "0" * 64})
    deployment = stage.live(1)
    monkeypatch.setattr(examples.artifacts, "read_text", lambda root, path, most_bytes: "[]")
    run = ask(elena, deployment, examples=None)
    services.dispatch_run(actor=system, run_id=run.id)
    run.refresh_from_db()
    assert run.state == "failed" and "not the file" in run.detail and not WorkOrder.objects.filter(kind="load_test").exists()


def test_without_any_rows_the_run_fails_with_the_remedy(elena, deployment, system):
    run = ask(elena, deployment, examples=None)
    services.dispatch_run(actor=system, run_id=run.id)
    run.refresh_from_db()
    assert run.state == "failed" and "Post rows" in run.detail


def test_an_engine_that_answers_production_is_not_loaded(stage, elena):
    with pytest.raises(Conflict, match="production"):
        ask(elena, stage.live(1, "production"))


def test_one_run_at_a_time_on_a_ready_engine(elena, deployment):
    ask(elena, deployment)
    with pytest.raises(Conflict, match="already"):
        ask(elena, deployment)
    LoadRun.objects.update(state="failed")
    Deployment.objects.update(observed="failed")
    with pytest.raises(Conflict, match="not ready"):
        ask(elena, deployment)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"multiplier": 0}, "multiplier"), ({"multiplier": float("nan")}, "multiplier"), ({"duration_s": 0.5}, "duration_s"),
        ({"multiplier": 900, "duration_s": 900}, "multiplier"), ({"examples": [{}]}, "examples[0]"), ({"examples": [{"a": [1]}]}, "examples[0]"),
        ({"max_error_share": 2}, "max_error_share"),
    ],
)  # fmt: skip
def test_wrong_input_is_named(elena, deployment, changed, name):
    with pytest.raises(Invalid) as refusal:
        ask(elena, deployment, **changed)
    assert name in refusal.value.errors


def test_only_engineers_of_the_use_case_ask(elena, deployment, make_user, actor_of):
    with pytest.raises(NotAllowed):
        ask(actor_of(make_user("approver:risk")), deployment)
    with pytest.raises(NotFound):
        ask(actor_of(make_user("ml_engineer")), deployment)


def test_a_refused_order_fails_the_run(stage, elena, deployment, system):
    run = ask(elena, deployment)
    services.dispatch_run(actor=system, run_id=run.id)
    order = WorkOrder.objects.get(kind="load_test")
    stage.agent.send(
        "order_refused",
        {
            "order_id": str(order.id), "deployment_id": str(deployment.id), "reason": "malformed", "detail": "No ready engine.",
            "order_sha256": orders.sha256_of_envelope(order.envelope),
        },
    )  # fmt: skip
    services.settle(actor=system, **messages("loadtests.settle")[0])
    run.refresh_from_db()
    assert run.state == "failed" and "No ready engine" in run.detail


def test_a_run_that_never_answers_is_failed_and_a_late_result_still_counts(stage, elena, deployment, system):
    run = ask(elena, deployment)
    services.dispatch_run(actor=system, run_id=run.id)
    run.refresh_from_db()
    assert services.sweep(actor=system) == 0
    with clock.fixed(later(100)):
        assert services.sweep(actor=system) == 1
        run.refresh_from_db()
        assert run.state == "failed"
        stage.agent.send("load_test", outcome(run))
        services.record_result(actor=system, **messages("loadtests.record")[0])
    run.refresh_from_db()
    assert run.state == "done"


def test_what_messages_lost_is_found_by_the_clock(stage, elena, deployment, system):
    run = ask(elena, deployment)
    assert selectors.to_dispatch() == [] and selectors.to_record() == []
    with clock.fixed(later(11)):
        assert selectors.to_dispatch() == [run.id]
    services.dispatch_run(actor=system, run_id=run.id)
    run.refresh_from_db()
    stage.agent.send("load_test", outcome(run))
    with clock.fixed(later(11)):
        [(host_id, report_id)] = selectors.to_record()
        services.record_result(actor=system, host_id=host_id, report_id=report_id)
        assert selectors.to_record() == []


def test_evidence_is_the_newest_run_at_peak_of_this_very_artifact(elena, deployment, usecase, finish):
    check = CHECKS["loadtests.latency_at_peak"]
    subject = EvidenceSubject(usecase_id=str(usecase.id), artifact_digest=DIGESTS[1], environment="production")
    assert check.run(subject, {}).state == "missing"
    finish(ask(elena, deployment, multiplier=1), throughput_rps=10.0, sent=60, completed=60)
    assert check.run(subject, {}).state == "missing"
    run = finish(ask(elena, deployment))
    found = check.run(subject, {})
    assert (found.state, found.figure, found.threshold, found.source) == ("pass", 40.0, 100.0, f"/load-tests/{run.id}/")
    assert check.run(subject, {}).digest == found.digest
    assert check.run(EvidenceSubject(usecase_id=str(usecase.id), artifact_digest=DIGESTS[2]), {}).state == "missing"
    finish(ask(elena, deployment), latency_ms={"p99": 150.0})
    assert check.run(subject, {}).state == "fail"


def test_evidence_counts_every_run_and_the_newest_decides(elena, system, deployment, usecase, finish):
    check = CHECKS["loadtests.latency_at_peak"]
    subject = EvidenceSubject(usecase_id=str(usecase.id), artifact_digest=DIGESTS[1], environment="production")

    def broken():
        run = ask(elena, deployment)
        LoadRun.objects.filter(id=run.id).update(state="failed", detail="The engine went away.", finished_at=clock.now())

    broken()
    assert check.run(subject, {}).state == "missing" and "1 run did not finish" in check.run(subject, {}).detail
    finish(ask(elena, deployment), latency_ms={"p99": 150.0})
    finish(ask(elena, deployment, multiplier=1), throughput_rps=10.0, sent=60, completed=60)
    finish(ask(elena, deployment), latency_ms={"p99": 160.0})
    finish(ask(elena, deployment))
    found = check.run(subject, {})
    assert (found.state, found.figure) == ("pass", 40.0)
    assert found.found.endswith("the newest of 4 runs decides: 1 met the bound, 2 did not, 1 did not finish")
    finish(ask(elena, deployment), latency_ms={"p99": 150.0})
    worse = check.run(subject, {})
    assert worse.state == "fail" and worse.found.endswith("the newest of 5 runs decides: 1 met the bound, 3 did not, 1 did not finish")
    only = check.run(subject, {"multiplier": 0.5})
    assert "the newest of 6 runs decides: 2 met the bound" in only.found


def test_a_pass_does_not_outlive_the_requirements_it_was_judged_by(elena, deployment, usecase, finish):
    check = CHECKS["loadtests.latency_at_peak"]
    subject = EvidenceSubject(usecase_id=str(usecase.id), artifact_digest=DIGESTS[1], environment="production")
    change = {"actor": elena, "usecase_id": usecase.id}
    usecase_services.set_requirements(**change, latency_p99_ms=1000.0, projected_rps=10.0)
    run = finish(ask(elena, deployment), latency_ms={"p99": 400.0})
    assert run.passed and check.run(subject, {}).state == "pass"
    usecase_services.set_requirements(**change, latency_p99_ms=100.0, projected_rps=10.0)
    slow = check.run(subject, {})
    assert (slow.state, slow.threshold) == ("fail", 100.0) and "p99 at most 100 ms" in slow.detail
    usecase_services.set_requirements(**change, latency_p99_ms=1000.0, projected_rps=20.0)
    weak = check.run(subject, {})
    assert weak.state == "fail" and "It sent 100/s; today's requirements ask for 200/s." in weak.detail
    usecase_services.set_requirements(**change, latency_p99_ms=1000.0, projected_rps=10.0)
    assert check.run(subject, {}).state == "pass"
    usecase_services.set_requirements(**change, latency_p99_ms=None, projected_rps=10.0)
    assert check.run(subject, {}).state == "missing"


def test_a_handful_of_answers_is_no_99th_percentile(elena, deployment, usecase, finish):
    check = CHECKS["loadtests.latency_at_peak"]
    subject = EvidenceSubject(usecase_id=str(usecase.id), artifact_digest=DIGESTS[1], environment="production")
    assert finish(ask(elena, deployment, duration_s=1), sent=101, completed=101).passed
    few = check.run(subject, {})
    assert few.state == "fail" and "Only 101 requests were answered, at least 500 are asked." in few.detail
    assert check.run(subject, {"min_requests": 100}).state == "pass"
    assert "engine alone" in few.found and "engine alone" in check.title


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""), ({"rate_rps": 200.0}, ""), ({"rate_rps": 99.99999999999999}, ""), ({"rate_rps": 99.0}, "sent 99/s"),
        ({"p99_ms": 50.0}, ""), ({"p99_ms": 50.1}, "at most 50 ms"), ({"p99_ms": None}, "at most 50 ms"),
        ({"completed": 500}, ""), ({"completed": 499}, "Only 499"),
    ],
)  # fmt: skip
def test_what_a_run_lacks_for_the_requirements_in_force(changed, words):
    run = {"rate_rps": 100.0, "p99_ms": 40.0, "completed": 600} | changed
    found = rules.short_of(**run, required_rps=100.0, latency_target_ms=50.0, min_requests=500)
    assert words in found if words else found == ""


def test_a_run_that_sent_nothing_was_not_at_its_load():
    common = {"p99_ms": 1.0, "latency_target_ms": 50.0, "error_share": 0.0, "max_error_share": 0.0, "interrupted": False}
    passed, why = rules.verdict(**common, sent=0, completed=1, rate_rps=1.0, duration_s=1.0)
    assert not passed and "Only 0 of about 1" in why


def test_over_rest(api, engineer, make_user, deployment):
    client = api(engineer)
    made = client.post("/api/v1/load-tests/", {"deployment": str(deployment.id), "multiplier": 1, "duration_s": 5, "examples": ROWS})
    assert made.status_code == 201 and made.json()["rate_rps"] == 10.0 and made.json()["endpoint"] == "care-outreach-pilot"
    assert client.get(f"/api/v1/load-tests/{made.json()['id']}/").json()["state"] == "requested"
    assert len(client.get("/api/v1/load-tests/?usecase=care-outreach").json()["results"]) == 1
    assert client.post("/api/v1/load-tests/", {"deployment": str(deployment.id), "multiplier": 0, "duration_s": 5}).status_code == 400
    stranger = api(make_user("ml_engineer"))
    assert stranger.get("/api/v1/load-tests/").json()["results"] == []
    assert stranger.get(f"/api/v1/load-tests/{made.json()['id']}/").status_code == 404


def test_input_examples_of_mlflows_forms_become_rows():
    rows = [{"a": 1.0, "b": "x"}]
    for document in (
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, "x"]]}}, {"columns": ["a", "b"], "data": [[1.0, "x"]]},
        {"dataframe_records": rows}, rows,
    ):  # fmt: skip
        assert rules.rows_of_example(document) == rows
    for document in ({}, [[1, 2]], "text", {"inputs": [[1]]}, {"columns": ["a"], "data": [[1, 2]]}, None):
        assert rules.rows_of_example(document) == []
