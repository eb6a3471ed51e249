"""Several workers at one endpoint at once: they queue, and nobody is lost to a deadlock."""

import threading

import pytest
from django.db import connection

from apps.deployments import services
from apps.deployments.models import Deployment, EngineStart, Rollout, WorkOrder

pytestmark = pytest.mark.django_db(transaction=True)


def together(*functions):
    """Run them at once; returns what they raised."""
    gate, raised = threading.Barrier(len(functions)), []

    def run(function):
        try:
            gate.wait()
            function()
        except Exception as error:
            raised.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=run, args=(f,)) for f in functions]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return raised


def test_reports_steps_and_looks_at_once_end_in_one_live_deployment(stage, system):
    rollout = stage.request(1)
    deployment = rollout.to_deployment
    stage.reconcile(deployment)
    start = stage.agent.body(deployment, "starting")
    reports = [stage.agent.envelope("deployment", start | {"state": s}) for s in ("starting", "ready", "ready")]
    raised = together(
        *[lambda e=e: services.receive_report(envelope=e) for e in reports],
        *[lambda: services.reconcile(actor=system, deployment_id=deployment.id) for _ in range(3)],
        *[lambda: services.advance(actor=system, endpoint_id=rollout.endpoint_id) for _ in range(3)],
        *[lambda: services.publish_routing(actor=system) for _ in range(2)],
    )
    assert raised == []
    stage.agent.send("deployment", start | {"state": "ready"})
    services.advance(actor=system, endpoint_id=rollout.endpoint_id)
    deployment.refresh_from_db()
    assert (deployment.observed, deployment.weight, deployment.engine_starts) == ("ready", 100, 1)
    assert EngineStart.objects.count() == 1 and WorkOrder.objects.count() == 1
    assert Rollout.objects.get().state == "completed"


def test_two_workers_that_look_at_once_send_one_order(stage, system):
    deployment = stage.request(1).to_deployment
    raised = together(*[lambda: services.reconcile(actor=system, deployment_id=deployment.id) for _ in range(4)])
    assert raised == [] and WorkOrder.objects.count() == 1


def test_two_engineers_who_ask_at_once_start_one_rollout(stage):
    from apps.core.errors import Conflict

    stage.decide(1, "pilot")
    endpoint, version = stage.endpoints("pilot"), stage.versions(1)
    raised = together(
        *[
            lambda: services.request_deployment(actor=stage.actor, endpoint_id=endpoint.id, model_version_id=version.id)
            for _ in range(3)
        ]
    )
    assert [type(r) for r in raised] == [Conflict, Conflict]
    assert Rollout.objects.count() == 1 and Deployment.objects.count() == 1
