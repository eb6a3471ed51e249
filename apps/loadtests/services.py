"""Ask for a load test, order it, take in what it measured."""

from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import plain
from apps.core.clock import now
from apps.core.doors import call
from apps.core.errors import Conflict, DomainError
from apps.deployments import rules as deployment_rules
from apps.deployments import selectors as deployments
from apps.deployments import services as deployment_services
from apps.deployments.models import AgentReport, Deployment, WorkOrder
from apps.deployments.services.work_orders import ENGINE_THREADS
from apps.kpis import selectors as kpis
from apps.loadtests import rules
from apps.loadtests.gateways import examples as model_examples
from apps.loadtests.models import LoadRun
from apps.outbox import services as outbox
from apps.usecases import selectors as usecases
from celery_worker import orders

DEFAULT_SEED = 20_190
# The agent's report comes when the run is over; after this much longer it is taken as lost.
GRACE_S = 90.0


@transaction.atomic
def request_run(
    *,
    actor: Actor,
    deployment_id: Any,
    multiplier: float,
    duration_s: float,
    examples: list[dict[str, Any]] | None = None,
    seed: int = DEFAULT_SEED,
    max_error_share: float = 0.001,
) -> LoadRun:
    """Ask for `multiplier` x the projected load of the use case for `duration_s` seconds on a ready deployment.

    examples: rows of named values to send, drawn with equal chance; none: the model's own input example.
    Raises Invalid naming the field, Conflict (not ready, answers production, another run), NotAllowed, NotFound.
    """
    deployment_rules.check_may_deploy(actor)
    deployment = deployments.deployment(actor, deployment_id)
    endpoint = deployment.endpoint
    deployments.check_may_change(actor, endpoint.usecase_id)
    multiplier, duration_s = rules.check_number("multiplier", multiplier), rules.check_number("duration_s", duration_s)
    max_error_share = rules.check_number("max_error_share", max_error_share)
    rows = rules.check_examples(examples or [])
    asked = usecases.requirements(endpoint.usecase_id)
    if asked is None or not asked.projected_rps:
        raise Conflict("requirements: the use case states no projected load. Set its requirements first.")
    rate = multiplier * asked.projected_rps
    rules.check_rate(rate, duration_s)
    # Locked, so that two requests cannot both find it free.
    deployment = Deployment.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint", "host").get(id=deployment.id)
    rules.check_not_answering(endpoint.environment, deployment.weight)
    if not deployment.is_ready:
        raise Conflict("deployment: its engine is not ready. Wait until it is.")
    if LoadRun.objects.filter(deployment=deployment, state__in=["requested", "sent"]).exists():
        raise Conflict("deployment: a load test runs on it already. Wait for its end.")
    run = LoadRun.objects.create(
        deployment=deployment, model_version_label=deployment.model_version_label, artifact_digest=deployment.artifact_digest,
        multiplier=multiplier, projected_rps=asked.projected_rps, rate_rps=rate, duration_s=duration_s, seed=abs(int(seed)) % 2**31,
        examples=plain(rows), latency_target_ms=asked.latency_p99_ms, max_error_share=max_error_share, requested_by=actor.label,
    )  # fmt: skip
    audit.record(
        "loadtests.run.requested", actor=actor, obj_type="loadrun", obj_id=str(run.id), obj_label=str(run), usecase_id=str(endpoint.usecase_id),
        after={"multiplier": multiplier, "rate_rps": rate, "duration_s": duration_s, "latency_target_ms": asked.latency_p99_ms},
    )  # fmt: skip
    outbox.put("loadtests.dispatch", {"run_id": run.id})
    return run


def dispatch_run(*, actor: Actor, run_id: Any) -> LoadRun:
    """Read the example rows if none were given, then order the run (control only). Safe to repeat; not in a transaction."""
    run = LoadRun.objects.select_related("deployment__model_version__model").get(id=run_id)
    if run.state != LoadRun.State.REQUESTED:
        return run
    try:
        rows = run.examples or model_examples.input_example(run.deployment.model_version)
        if not rows:
            raise Conflict("examples: the model was logged without an input example. Post rows to send.")
        return call(_order, actor, run_id, rows)
    except DomainError as error:
        return call(_fail, actor, run_id, error.detail)


@transaction.atomic
def _order(actor: Actor, run_id: Any, rows: list[dict[str, Any]]) -> LoadRun:
    run = LoadRun.objects.select_for_update(no_key=True, of=("self",)).select_related("deployment__endpoint").get(id=run_id)
    if run.state != LoadRun.State.REQUESTED:
        return run
    load = {"run_id": str(run.id), "rate_rps": run.rate_rps, "duration_s": run.duration_s, "seed": run.seed, "examples": rows}
    order = deployment_services.issue_load_order(actor=actor, deployment_id=run.deployment_id, load=load)
    run.state, run.order_id, run.examples, run.started_at = LoadRun.State.SENT, order.id, rows, now()
    run.save(update_fields=["state", "order_id", "examples", "started_at"])
    return run


@transaction.atomic
def record_result(*, actor: Actor, host_id: Any, report_id: Any) -> LoadRun | None:
    """Take in the agent's figures from a stored, verified report; judge them; price them. Repeating it changes nothing."""
    report = AgentReport.objects.get(host_id=host_id, report_id=report_id, kind="load_test")
    body = report.body
    run = (
        LoadRun.objects.select_for_update(no_key=True, of=("self",))
        .select_related("deployment__endpoint")
        .filter(order_id=body.get("order_id"))
        .first()
    )
    if run is None or run.state == LoadRun.State.DONE or str(run.id) != body.get("run_id"):
        return None
    try:
        _figures(run, body)
    except (orders.OrderRefused, TypeError, ValueError, KeyError):
        if run.state == LoadRun.State.FAILED:
            return None
        run.refresh_from_db()
        return _failed(actor, run, "The agent's report is not readable. Update the agent and ask for another run.")
    _price(run, body)
    run.passed, run.detail = rules.verdict(
        p99_ms=run.p99_ms, latency_target_ms=run.latency_target_ms, error_share=run.error_share or 0.0,
        max_error_share=run.max_error_share, sent=run.sent or 0, completed=run.completed or 0, rate_rps=run.rate_rps,
        duration_s=run.duration_s, interrupted=bool(body.get("interrupted")),
    )  # fmt: skip
    run.state = LoadRun.State.DONE
    run.save()
    audit.record(
        "loadtests.run.finished", actor=Actor.agent(report.host.name), obj_type="loadrun", obj_id=str(run.id), obj_label=str(run),
        usecase_id=str(run.deployment.endpoint.usecase_id), reason=run.detail,
        after={
            "passed": run.passed, "p50_ms": run.p50_ms, "p99_ms": run.p99_ms, "error_share": run.error_share,
            "throughput_rps": run.throughput_rps, "cost_per_1k": run.cost_per_1k, "currency": run.currency,
        },
    )  # fmt: skip
    return run


def _figures(run: LoadRun, body: dict[str, Any]) -> None:
    latency = body["latency_ms"]
    for name in ("p50", "p90", "p95", "p99", "max", "mean"):
        setattr(run, f"{name}_ms", None if latency[name] is None else float(latency[name]))
    run.sent, run.completed, run.errors = int(body["sent"]), int(body["completed"]), int(body["errors"])
    run.error_share, run.throughput_rps = float(body["error_share"]), float(body["throughput_rps"])
    run.max_send_lag_ms = None if body.get("max_send_lag_ms") is None else float(body["max_send_lag_ms"])
    run.schedule = str(body.get("schedule", ""))[:20]
    run.started_at = orders.time_from_text(body["started_at"], field="started_at")
    run.finished_at = orders.time_from_text(body["finished_at"], field="finished_at")


def _price(run: LoadRun, body: dict[str, Any]) -> None:
    """By what the engine has: cores and GPUs of its start, memory as its agent measured it after the load (older agents do not)."""
    card = kpis.rate_card()
    if card is None:
        return
    start = deployments.engine_start(run.deployment_id)
    cores, gpus = (start.cpu_cores, start.gpus) if start else (float(ENGINE_THREADS), 0)
    told = body.get("memory_bytes")
    held = told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= 2**62 else start.memory_bytes if start else None
    memory_gib = None if held is None else round(held / 2**30, 3)
    run.currency = card.currency
    run.rate_card = {
        "id": str(card.id), "name": card.name, "cpu_hour": str(card.cpu_hour), "gpu_hour": str(card.gpu_hour),
        "memory_gib_hour": str(card.memory_gib_hour), "per_1k_requests": str(card.per_1k_requests), "cpu_cores": cores, "gpus": gpus,
        "memory_gib": memory_gib,
    }  # fmt: skip
    run.cost_per_1k = rules.cost_per_1k(
        cpu_cores=cores, gpus=gpus, memory_gib=memory_gib or 0.0, cpu_hour=float(card.cpu_hour), gpu_hour=float(card.gpu_hour),
        memory_gib_hour=float(card.memory_gib_hour),
        per_1k_requests=float(card.per_1k_requests), throughput_rps=run.throughput_rps or 0.0,
    )  # fmt: skip


@transaction.atomic
def _fail(actor: Actor, run_id: Any, detail: str) -> LoadRun:
    run = LoadRun.objects.select_for_update(no_key=True, of=("self",)).select_related("deployment__endpoint").get(id=run_id)
    return _failed(actor, run, detail) if run.state in {LoadRun.State.REQUESTED, LoadRun.State.SENT} else run


def _failed(actor: Actor, run: LoadRun, detail: str) -> LoadRun:
    run.state, run.detail, run.finished_at = LoadRun.State.FAILED, detail, now()
    run.save(update_fields=["state", "detail", "finished_at"])
    audit.record(
        "loadtests.run.failed", actor=actor, obj_type="loadrun", obj_id=str(run.id), obj_label=str(run),
        usecase_id=str(run.deployment.endpoint.usecase_id), reason=detail,
    )  # fmt: skip
    return run


@transaction.atomic
def settle(*, actor: Actor, order_id: Any) -> LoadRun | None:
    """The order of a run came to nothing (the host refused it): the run failed."""
    run = (
        LoadRun.objects.select_for_update(no_key=True, of=("self",))
        .select_related("deployment__endpoint")
        .filter(order_id=order_id, state="sent")
        .first()
    )
    order = WorkOrder.objects.filter(id=order_id).first()
    if run is None or order is None:
        return None
    return _failed(actor, run, f"The host did not make the run: {order.detail or order.state}.")


@transaction.atomic
def sweep(*, actor: Actor) -> int:
    """Fail runs whose report is long overdue, so that the deployment is free for another; returns how many."""
    count = 0
    waiting = LoadRun.objects.select_for_update(no_key=True, of=("self",), skip_locked=True).select_related("deployment__endpoint")
    for run in waiting.filter(state__in=["requested", "sent"]).order_by("id"):
        since = run.started_at or run.created_at
        if (now() - since).total_seconds() > run.duration_s + GRACE_S:
            _failed(actor, run, "No result came from the host in time. Look at its agent and ask for another run.")
            count += 1
    return count
