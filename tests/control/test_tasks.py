"""Control's tasks: one service call each, safe to run twice, and refusals do not come again."""

import pytest
from django.db import connection

from apps.accounts.models import User
from apps.audit.models import Event
from apps.deployments import services
from apps.deployments.models import Deployment, RoutingSnapshot, WorkOrder
from celery_worker import orders
from celery_worker.control import schedule, tasks
from celery_worker.control.app import app
from tests.deployments.world import actions

pytestmark = pytest.mark.django_db


def test_a_stored_report_is_acknowledged_with_a_signed_message(stage, broker, control):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    envelope = stage.agent.envelope("deployment", stage.agent.body(deployment, "ready"))
    tasks.receive_report.run(envelope)
    tasks.receive_report.run(envelope)
    sent = broker.received("agent.local")
    public = orders.load_private_key(control.ORDER_KEY).public_key()
    read = [orders.read_acknowledgement(s["args"][0], keys={orders.key_id(public): public}, audience="local") for s in sent]
    assert [s["task"] for s in sent] == [orders.ACKNOWLEDGE_TASK] * 2 and read[0] == read[1] and len(read[0]) == 1


def test_a_forged_report_is_not_acknowledged(stage, broker):
    tasks.receive_report.run({"v": 1, "key_id": "x", "payload": "{}", "signature": "eA=="})
    assert broker.received("agent.local") == [] and actions()[-1] == "deployments.report.refused"


def test_the_clock_finds_what_messages_lost(stage, broker):
    rollout = stage.request(1)
    tasks.reconcile_all.run()
    assert WorkOrder.objects.get().kind == "start"
    stage.agent.report(rollout.to_deployment, "ready")
    tasks.reconcile_all.run()
    assert Deployment.objects.get().weight == 100
    assert '"weight":100' in RoutingSnapshot.objects.order_by("version").last().envelope["payload"]


def test_one_that_fails_does_not_stop_the_others(stage, broker, monkeypatch):
    stage.request(1)
    stage.request(1, "production")
    real, seen = services.reconcile, []

    def half(*, actor, deployment_id):
        seen.append(deployment_id)
        if len(seen) == 1:
            raise ZeroDivisionError
        return real(actor=actor, deployment_id=deployment_id)

    monkeypatch.setattr(services, "reconcile", half)
    tasks.reconcile_all.run()
    assert len(seen) == 2 and WorkOrder.objects.count() == 1


def test_a_refusal_of_the_domain_is_said_and_settled(db):
    tasks.reconcile.run("00000000-0000-0000-0000-000000000000")
    tasks.sweep.run()
    tasks.run_monitors.run()
    tasks.meter_costs.run()


def test_a_change_that_no_event_tells_of_is_recorded_once(db):
    with connection.cursor() as cursor:
        # Tests before this one may have left any number of rows that no event tells of.
        cursor.execute("UPDATE audit_row_looked SET looked_id = (SELECT coalesce(max(id), 0) FROM audit_row)")
    raw = User(email="raw@example.org", full_name="Raw", password="!")
    raw.save()
    tasks.check_history.run()
    tasks.check_history.run()
    told = Event.objects.get(action="audit.row.untold", object_type="accounts_user", object_id=str(raw.id))
    assert told.actor_id == "system:housekeeping" and told.facts["after"]["operation"] == "INSERT"


def test_the_application_takes_json_only_and_no_remote_control():
    conf = app.conf
    assert (conf.accept_content, conf.task_serializer, conf.worker_enable_remote_control) == (["json"], "json", False)
    assert conf.task_acks_late and conf.worker_prefetch_multiplier == 1 and conf.result_backend is None
    assert all(name.startswith("control.") for name in app.tasks if not name.startswith(("celery.", "agent.")))


def test_the_schedule_names_tasks_that_exist_and_drops_what_waited_too_long():
    app.loader.import_default_modules()
    for name, entry in schedule.entries().items():
        assert entry["task"] in app.tasks, name
        assert entry["schedule"] > 0 and 0 < entry["options"]["expires"] <= max(1.0, entry["schedule"])


def test_load_tests_and_aliases_go_through_their_tasks(stage, broker, elena, monkeypatch):
    from apps.loadtests import services as load_tests
    from apps.loadtests.models import LoadRun
    from apps.registry import services as registry
    from tests.deployments.world import messages

    deployment = stage.live(1)
    run = load_tests.request_run(actor=elena, deployment_id=deployment.id, multiplier=1, duration_s=1, examples=[{"age": 1.0}])
    tasks.dispatch_load_test.run(**messages("loadtests.dispatch")[0])
    run.refresh_from_db()
    assert run.state == "sent"
    WorkOrder.objects.filter(id=run.order_id).update(state="refused", detail="No.")
    tasks.settle_load_test.run(str(run.order_id))
    assert LoadRun.objects.get().state == "failed"
    asked = []
    monkeypatch.setattr(registry, "apply_alias", lambda **given: asked.append(given))
    monkeypatch.setattr(registry, "sync_version", lambda **given: asked.append(given))
    monkeypatch.setattr(registry, "discover", lambda: asked.append("discover"))
    tasks.apply_alias.run(model="m", alias="production", version=1, decision_id="d")
    tasks.sync_model.run(name="m", version=1)
    tasks.discover_models.run()
    assert asked == [{"model": "m", "alias": "production", "version": 1, "decision_id": "d"}, {"name": "m", "version": 1}, "discover"]
