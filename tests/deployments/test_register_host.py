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
