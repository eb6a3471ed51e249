"""Snapshots: signed, growing, published only when something changed; gateways poll and thereby confirm."""

import socket
import threading
import time

import pytest
from django.db import connection
from django.test import Client, RequestFactory

from apps.accounts import services as accounts
from apps.core.actor import Actor
from apps.deployments import selectors, services
from apps.deployments.machine import views
from apps.deployments.models import Deployment, GatewayState, RoutingSnapshot, TrafficShift
from celery_worker import orders
from tests.deployments.world import actions, messages

pytestmark = pytest.mark.django_db


def payload(snapshot, control):
    public = orders.load_private_key(control.ORDER_KEY).public_key()
    return orders.verify(snapshot.envelope, keys={orders.key_id(public): public})


@pytest.fixture
def poll(system, make_user):
    """poll(since=0, wait=0) as a gateway with its token."""
    _, secret = accounts.issue_token(actor=system, user=make_user(), name="gateway", scopes=["routing"])

    def ask(since=0, wait=0, token=secret, **extra):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return Client(headers=headers).get(f"/internal/routing/?since={since}&wait={wait}", **extra)

    return ask


def test_the_snapshot_says_what_the_gateway_needs_and_no_secret(stage, control, elena):
    deployment = stage.live(1)
    _, secret = services.issue_key(actor=elena, endpoint_id=deployment.endpoint_id, name="claims")
    said = payload(stage.publish(), control)
    endpoint = said["endpoints"][0]
    assert said["v"] == 1 and said["version"] == 1
    assert (endpoint["id"], endpoint["slug"], endpoint["environment"]) == (
        str(deployment.endpoint_id), "care-outreach-pilot", "pilot",
    )  # fmt: skip
    assert (endpoint["rate_limit_rps"], endpoint["burst"], endpoint["feature_names"]) == (100.0, 200, ["age", "visits"])
    assert endpoint["routes"] == [
        {
            "deployment_id": str(deployment.id), "model_version": "care-outreach/1", "engine_model": "care-outreach",
            "url": "http://127.0.0.1:9001", "weight": 100, "shadow": False,
        }
    ]  # fmt: skip
    key = endpoint["keys"][0]
    assert secret.startswith(f"ghe_{key['key_id']}_") and secret not in str(said)


def test_the_gateway_reads_what_control_publishes(stage, control, elena):
    """The gateway's own parser, which shares no code with this side."""
    snapshot = pytest.importorskip("gateway.snapshot")
    stage.live(1)
    stage.live(2)
    parsed = snapshot.parse(payload(stage.publish(), control))
    assert [r.weight for r in parsed.endpoints["care-outreach-pilot"].live] == [0, 100]


def test_nothing_new_is_published_for_nothing(stage):
    stage.live(1)
    first = stage.publish()
    assert stage.publish().version == first.version == 1
    assert RoutingSnapshot.objects.count() == 1 and actions().count("deployments.routing.published") == 1


def test_versions_grow_with_every_change(stage, elena):
    deployment = stage.live(1)
    first = stage.publish().version
    key, _ = services.issue_key(actor=elena, endpoint_id=deployment.endpoint_id, name="claims")
    second = stage.publish().version
    services.revoke_key(actor=elena, key_id=key.id)
    third = stage.publish()
    assert (first, second, third.version) == (1, 2, 3)
    assert '"keys":[]' in third.envelope["payload"]


def test_an_engine_that_is_not_ready_gets_no_route(stage, control):
    deployment = stage.live(1)
    stage.publish()
    stage.agent.report(deployment, "failed", detail="gone")
    assert payload(stage.publish(), control)["endpoints"][0]["routes"] == []


def test_a_shadow_is_marked_and_has_no_weight(stage, control):
    deployment = stage.live(1)
    Deployment.objects.filter(id=deployment.id).update(role="shadow", weight=0)
    route = payload(stage.publish(), control)["endpoints"][0]["routes"][0]
    assert (route["shadow"], route["weight"]) == (True, 0)


def test_what_changes_routes_says_so_through_the_outbox(stage, elena, endpoints):
    endpoint = endpoints()
    before = len(messages("deployments.publish_routing"))
    services.issue_key(actor=elena, endpoint_id=endpoint.id, name="claims")
    assert len(messages("deployments.publish_routing")) == before + 1


def test_a_gateway_gets_the_newest_and_then_nothing_until_something_changes(stage, poll):
    stage.live(1)
    newest = stage.publish()
    answer = poll(since=0)
    assert answer.status_code == 200 and answer.json()["envelope"] == newest.envelope
    assert "no-store" in answer["Cache-Control"] or "no-cache" in answer["Cache-Control"]
    assert poll(since=newest.version).status_code == 204


def test_asking_for_what_comes_next_confirms_what_came_before(stage, poll):
    stage.live(1)
    newest = stage.publish()
    shift = TrafficShift.objects.get()
    assert shift.snapshot_version == newest.version and shift.confirmed_at is None
    poll(since=0)
    shift.refresh_from_db()
    assert shift.confirmed_at is None
    poll(since=newest.version)
    shift.refresh_from_db()
    assert shift.confirmed_at is not None and shift.seconds is not None
    assert GatewayState.objects.get().version == newest.version


def test_a_shift_is_confirmed_only_when_every_gateway_has_it(stage):
    stage.live(1)
    newest = stage.publish()
    services.confirm_routing(actor=Actor.system("slow"), version=0)
    services.confirm_routing(actor=Actor.system("quick"), version=newest.version)
    assert TrafficShift.objects.get().confirmed_at is None
    services.confirm_routing(actor=Actor.system("slow"), version=newest.version)
    assert TrafficShift.objects.get().confirmed_at is not None


def test_a_gateway_ahead_of_a_restored_database_gets_a_newer_version(stage):
    stage.live(1)
    stage.publish()
    services.confirm_routing(actor=Actor.system("gateway"), version=40)
    assert messages("deployments.publish_routing")
    assert stage.publish().version == 41


@pytest.mark.parametrize("query", ["since=x", "since=-1", "wait=-1"])
def test_a_wrong_question_is_named(poll, query):
    name = query.split("=")[0]
    answer = poll(**{name: query.split("=")[1]})
    assert answer.status_code == 400 and name in answer.json()["errors"]


def test_only_a_token_with_the_scope_routing_is_answered(poll, system, make_user):
    _, other = accounts.issue_token(actor=system, user=make_user("admin"), name="ci", scopes=["read", "write"])
    assert poll(token="").status_code == 401
    assert poll(token="ghp_00000000_nonsense").status_code == 401
    refused = poll(token=other)
    assert refused.status_code == 403 and "routing" in refused.json()["detail"]


def test_the_routing_token_opens_nothing_else(system, make_user):
    from rest_framework.test import APIClient

    _, secret = accounts.issue_token(actor=system, user=make_user("admin"), name="gateway", scopes=["routing"])
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert client.get("/api/v1/endpoints/").status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_waiting_gateway_is_answered_as_soon_as_something_changes(stage, poll, elena):
    deployment = stage.live(1)
    newest = stage.publish()

    def change():
        try:
            time.sleep(0.3)
            services.issue_key(actor=elena, endpoint_id=deployment.endpoint_id, name="claims")
            services.publish_routing(actor=stage.system)
        finally:
            connection.close()

    worker = threading.Thread(target=change)
    worker.start()
    answer = poll(since=newest.version, wait=20)
    worker.join()
    assert answer.status_code == 200
    assert selectors.newest_routing_version() == newest.version + 1


@pytest.mark.django_db(transaction=True)
def test_two_publishers_at_once_make_one_version_each_change(stage, elena):
    deployment = stage.live(1)
    services.issue_key(actor=elena, endpoint_id=deployment.endpoint_id, name="claims")
    found = []

    def publish():
        try:
            found.append(services.publish_routing(actor=stage.system).version)
        finally:
            connection.close()

    workers = [threading.Thread(target=publish) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [1, 1, 1, 1] and RoutingSnapshot.objects.count() == 1


def test_a_shift_that_asks_for_what_the_gateways_do_already_is_confirmed_at_once(stage, elena):
    rollout = stage.request(1)
    stage.make_ready(rollout.to_deployment)
    Deployment.objects.filter(id=rollout.to_deployment_id).update(weight=100)
    stage.gateway_takes_up()
    count = RoutingSnapshot.objects.count()
    stage.advance(rollout.endpoint)
    stage.publish()
    assert RoutingSnapshot.objects.count() == count and TrafficShift.objects.get().confirmed_at is not None


def test_a_caller_who_hung_up_is_noticed_and_one_who_waits_or_speaks_is_not():
    here, there = socket.socketpair()
    request = RequestFactory().get("/", **{"gunicorn.socket": here})
    assert not views._gone(request)
    there.send(b"G")
    assert not views._gone(request)
    assert here.recv(1) == b"G", "looking takes nothing away"
    there.close()
    assert views._gone(request)
    here.close()
    assert not views._gone(request)


def test_nobody_is_waited_for_who_hung_up(stage, poll):
    newest = stage.publish()
    here, there = socket.socketpair()
    there.close()
    began = time.monotonic()
    with here:
        assert poll(since=newest.version, wait=20, **{"gunicorn.socket": here}).status_code == 204
    assert time.monotonic() - began < 10
