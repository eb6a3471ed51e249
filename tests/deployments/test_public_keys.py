"""Public keys that verifiers and agents pin: orders, seal, agents; ids that can be checked; no private one."""

import base64
import hashlib
import json

import pytest

from apps.deployments.models import Host
from celery_worker import keys

pytestmark = pytest.mark.django_db


@pytest.fixture
def files(tmp_path, settings):
    made = {}
    for purpose, name in (("order", "ORDER_PUBLIC_KEYS"), ("seal", "SEAL_PUBLIC_KEY")):
        public = keys.generate_private_key(tmp_path / f"{purpose}.pem").public_key()
        path = tmp_path / f"{purpose}.json"
        path.write_text(json.dumps({"keys": [keys.public_entry(public, purpose=purpose)]}))
        setattr(settings, name, str(path))
        made[purpose] = keys.key_id(public)
    return made


def test_every_signed_in_person_reads_them_and_each_id_belongs_to_its_key(api, make_user, files, agent):
    rows = api(make_user("stakeholder")).get("/api/v1/keys/").json()["results"]
    host = Host.objects.get()
    assert [(r["purpose"], r["id"], r["host"]) for r in rows] == [
        ("order", files["order"], None), ("seal", files["seal"], None), ("agent", host.key_id, host.name)
    ]  # fmt: skip
    for row in rows:
        raw = base64.b64decode(row["public"], validate=True)
        assert len(raw) == 32 and hashlib.sha256(raw).hexdigest()[:16] == row["id"] and row["algorithm"] == "Ed25519"
        assert set(row) == {"id", "algorithm", "purpose", "public", "host", "created_at", "accepted_until"}


def test_nobody_else_does(api, files):
    assert api().get("/api/v1/keys/").status_code == 401


def test_a_host_that_is_retired_and_a_file_that_is_not_there_are_left_out(api, make_user, agent, settings, tmp_path):
    settings.ORDER_PUBLIC_KEYS = settings.SEAL_PUBLIC_KEY = str(tmp_path / "none.json")
    Host.objects.update(state="retired")
    assert api(make_user("auditor")).get("/api/v1/keys/").json()["results"] == []
