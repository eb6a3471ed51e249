"""Doors of the control plane: each task makes one service call. All are safe to run twice."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from apps.accounts import selectors as account_reads
from apps.accounts import services as accounts
from apps.approvals import services as approvals
from apps.audit import downloads, history
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError, NotFound
from apps.deployments import selectors as deployments
from apps.deployments import services as deployment_services
from apps.loadtests import selectors as load_test_reads
from apps.loadtests import services as load_tests
from apps.monitoring import services as monitoring
from apps.notices import services as notices
from apps.outbox import services as outbox
from apps.registry import services as registry
from celery_worker import faults, orders
from celery_worker.control.app import app

log = logging.getLogger(__name__)

# For one evidence pack.
PACK_LIMIT_S = 900

RECONCILER, ROLLOUTS, MONITORS, HOUSE = (Actor.system(n) for n in ("reconciler", "rollouts", "monitors", "housekeeping"))


def task(name: str, **options: Any) -> Callable[[Callable[..., None]], Any]:
    """A control task. A refusal of the domain is said and settled: trying again would be refused again."""

    def decorate(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except DomainError as error:
                log.warning("%s was refused: %s", name, error.detail)

        return app.task(name=f"control.{name}", queue=orders.CONTROL_QUEUE, **options)(run)

    return decorate


def each(function: Callable[[Any], Any], ids: list[Any]) -> None:
    """Call it for every id in its own transaction; one that fails does not stop the others."""
    for each_id in ids:
        try:
            function(each_id)
        except NotFound:
            continue
        except Exception:
            log.exception("%s failed for %s", getattr(function, "__name__", "a task"), each_id)


# --- deployments --------------------------------------------------------------------------------------


@task("receive_report")
def receive_report(envelope: Any) -> None:
    """Take in an agent's report; tell the agent that it is stored, so that it stops sending it."""
    receipt = call(deployment_services.receive_report, envelope=envelope)
    faults.reach("control.report_stored")
    if receipt.report_ids:
        acknowledgement = deployment_services.acknowledgement(receipt=receipt)
        app.send_task(orders.ACKNOWLEDGE_TASK, args=[acknowledgement], queue=orders.agent_queue(receipt.host), retry=False)


@task("reconcile")
def reconcile(deployment_id: str) -> None:
    """Bring one deployment to what it should be."""
    call(deployment_services.reconcile, actor=RECONCILER, deployment_id=deployment_id)


@task("reconcile_all")
def reconcile_all() -> None:
    """Look at everything that may differ, whatever messages or workers were lost."""
    each(reconcile.run, deployments.to_reconcile())
    each(advance.run, deployments.to_advance())
    publish_routing.run()
    each(dispatch_load_test.run, load_test_reads.to_dispatch())
    each(lambda found: record_load_test.run(*found), load_test_reads.to_record())


@task("advance")
def advance(endpoint_id: str) -> None:
    """Take the next step of a rollout or rehearsal."""
    call(deployment_services.advance, actor=ROLLOUTS, endpoint_id=endpoint_id)


@task("publish_routing")
def publish_routing() -> None:
    """Sign what the gateways route by, if it has changed."""
    call(deployment_services.publish_routing, actor=RECONCILER)


@task("meter_costs")
def meter_costs() -> None:
    """Write down what engines have cost."""
    each(lambda usecase_id: call(deployment_services.meter_cost, actor=HOUSE, usecase_id=usecase_id), deployments.usecases_with_engines())


@task("deliver_notices")
def deliver_notices() -> None:
    """Send emails and webhooks that are due."""
    notices.deliver_due()


# --- load tests, monitoring, registry -----------------------------------------------------------------


@task("dispatch_load_test")
def dispatch_load_test(run_id: str) -> None:
    """Order a load test."""
    load_tests.dispatch_run(actor=RECONCILER, run_id=run_id)


@task("record_load_test")
def record_load_test(host_id: str, report_id: str) -> None:
    """Take in what a load test measured."""
    call(load_tests.record_result, actor=RECONCILER, host_id=host_id, report_id=report_id)


@task("settle_load_test")
def settle_load_test(order_id: str) -> None:
    """Fail a load test whose order was refused."""
    call(load_tests.settle, actor=RECONCILER, order_id=order_id)


@task("run_monitors")
def run_monitors() -> None:
    """Have every monitor look at what came since its last window."""
    monitoring.evaluate_due(actor=MONITORS)


@task("sync_model")
def sync_model(name: str, version: int) -> None:
    """Read one model version from MLflow."""
    registry.sync_version(name=name, version=version)


@task("look_at_version")
def look_at_version(name: str, version: int) -> None:
    """Take in what MLflow says of a version that somebody has written to."""
    registry.look_at_version(name=name, version=version)


@task("look_at_model")
def look_at_model(name: str) -> None:
    """Take in what MLflow says of a registered model that somebody has written to."""
    registry.look_at_model(name=name)


@task("scan_model")
def scan_model(name: str, version: int) -> None:
    """Scan the files of one model version."""
    registry.scan_version(name=name, version=version)


@task("discover_models")
def discover_models() -> None:
    """Find versions that the portal does not know yet."""
    registry.discover()


@task("apply_alias")
def apply_alias(model: str, alias: str, version: int, decision_id: str | None = None) -> None:
    """Let an alias follow a decision."""
    registry.apply_alias(model=model, alias=alias, version=version, decision_id=decision_id)


@task("sweep")
def sweep() -> None:
    """Delete what nothing needs any more; fail load tests that never answered."""
    call(load_tests.sweep, actor=HOUSE)
    call(deployment_services.remind_of_aliases, actor=HOUSE)
    call(deployment_services.sum_up_refusals, actor=HOUSE)
    call(deployment_services.sweep, actor=HOUSE)
    call(outbox.sweep)
    call(notices.sweep)
    call(downloads.sweep)


@task("prepare_packs", soft_time_limit=PACK_LIMIT_S, time_limit=PACK_LIMIT_S + 30)
def prepare_packs() -> None:
    """Put together the evidence pack that waits longest, as its owner may see it. One a run, which has the time to itself; the clock soon
    asks for the next."""
    for found in downloads.to_prepare():
        owner = account_reads.actor_of(found.user_id, otherwise=found.actor_id)
        if downloads.prepare(actor=HOUSE, owner=owner, download_id=found.id, out_of_time=SoftTimeLimitExceeded) is not None:
            return


@task("watch_evidence")
def watch_evidence() -> None:
    """See whether the evidence of open gates has changed since they were requested."""
    approvals.watch_evidence(actor=HOUSE)


@task("check_history")
def check_history() -> None:
    """Record what happened to governed rows without an event that tells of it."""
    full = True
    while full:
        new = call(history.reconcile, actor=HOUSE, most=history.BATCH)
        for found in new:
            log.error("no event tells of: %s", found)
        full = len(new) == history.BATCH


@task("remind")
def remind() -> None:
    """Tell of approvals that end and gates that wait; suspend what stood on a waiver that ran out."""
    approvals.remind(actor=HOUSE)


@task("sweep_accounts")
def sweep_accounts() -> None:
    """Delete accepted posts, failed tries and sessions that are past their time."""
    call(accounts.sweep, actor=HOUSE)
