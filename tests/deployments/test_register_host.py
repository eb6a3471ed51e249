"""Whose reports are believed."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command

from apps.core.errors import Conflict, Invalid, NotAllowed
from apps.deployments import services
from apps.deployments.models import Host
from celery_worker import orders
from tests.deployments.world import actions

pytestmark = pytest.mark.django_db


def key():
    return orders.public_to_text(Ed25519PrivateKey.generate().public_key())


def test_registering_twice_changes_nothing(system):
    text = key()
    first = services.register_host(actor=system, name="gpu-1", public_key=text)
    assert services.register_host(actor=system, name="gpu-1", public_key=text) == first
    assert actions() == ["deployments.host.registered"]


def test_another_key_has_to_be_asked_for(system):
    services.register_host(actor=system, name="gpu-1", public_key=key())
    second = key()
    with pytest.raises(Conflict, match="another key"):
        services.register_host(actor=system, name="gpu-1", public_key=second)
    services.register_host(actor=system, name="gpu-1", public_key=second, replace_key=True)
    assert Host.objects.get().public_key == second and actions()[-1] == "deployments.host.key_replaced"


def test_one_key_speaks_for_one_host(system):
    text = key()
    services.register_host(actor=system, name="gpu-1", public_key=text)
    with pytest.raises(Conflict, match="another host"):
        services.register_host(actor=system, name="gpu-2", public_key=text)


@pytest.mark.parametrize(
    ("name", "text"), [("GPU", None), ("", None), ("a b", None), ("gpu", "x"), ("gpu", base64.b64encode(b"short").decode())]
)
def test_wrong_input_is_named(system, name, text):
    with pytest.raises(Invalid):
        services.register_host(actor=system, name=name, public_key=text or key())


def test_only_administrators_register_hosts(make_user, actor_of):
    with pytest.raises(NotAllowed):
        services.register_host(actor=actor_of(make_user("ml_engineer")), name="gpu-1", public_key=key())


def test_the_command_reads_the_public_key_file(tmp_path, capsys):
    private = Ed25519PrivateKey.generate()
    path = tmp_path / "agent-public.json"
    path.write_text(json.dumps({"keys": [orders.public_entry(private.public_key(), purpose="agent")]}))
    call_command("register_host", "--name", "local", "--public-key-file", str(path))
    assert Host.objects.get().key_id == orders.key_id(private.public_key())
    assert Host.objects.get().key_id in capsys.readouterr().out
    path.write_text("{}")
    with pytest.raises(CommandError):
        call_command("register_host", "--name", "local", "--public-key-file", str(path))


def test_reports_that_the_old_key_signed_count_in_the_overlap_and_not_after_it(system, control, api, make_user):
    from datetime import timedelta

    from apps.core import clock
    from tests.deployments.world import Agent, later

    old, new = (Agent("gpu-1", Ed25519PrivateKey.generate()) for _ in range(2))
    text = [orders.public_to_text(a.key.public_key()) for a in (old, new)]
    services.register_host(actor=system, name="gpu-1", public_key=text[0])
    answer = api(make_user("admin")).post(
        "/api/v1/hosts/", {"name": "gpu-1", "public_key": text[1], "replace_key": True, "overlap_hours": 2}, format="json"
    )
    assert answer.status_code == 201, answer.content
    said = {"order_id": None, "reason": "unsigned", "detail": "D.", "order_sha256": "0" * 64}
    assert old.send("order_refused", said).report_ids and new.send("order_refused", said).report_ids
    rows = api(make_user("auditor")).get("/api/v1/keys/").json()["results"]
    assert [(r["id"], bool(r["accepted_until"])) for r in rows if r["host"] == "gpu-1"] == [
        (orders.key_id(new.key.public_key()), False),
        (orders.key_id(old.key.public_key()), True),
    ]
    with pytest.raises(Conflict, match="another host"):
        services.register_host(actor=system, name="gpu-2", public_key=text[0])
    with clock.fixed(later(timedelta(hours=3).total_seconds())):
        assert old.send("order_refused", said).report_ids == []
    assert actions().count("deployments.report.refused") == 1


def test_without_an_overlap_the_old_key_is_a_strangers_at_once(system, control):
    from tests.deployments.world import Agent

    old = Agent("gpu-1", Ed25519PrivateKey.generate())
    services.register_host(actor=system, name="gpu-1", public_key=orders.public_to_text(old.key.public_key()))
    services.register_host(actor=system, name="gpu-1", public_key=key(), replace_key=True)
    assert old.send("order_refused", {"order_id": None, "reason": "unsigned", "detail": "", "order_sha256": "0" * 64}).report_ids == []
