"""Who has a generator signs with its code, on the page and over REST."""

from datetime import timedelta

import pyotp
import pytest

from apps.accounts import doors as accounts_doors
from apps.accounts import services as accounts
from apps.approvals.models import Signature
from apps.core import clock
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def generator(business, actor_of):
    seed, _ = accounts.begin_second_factor(actor=actor_of(business))
    made = pyotp.TOTP(seed)
    with clock.fixed(clock.now() - timedelta(minutes=2)):
        accounts_doors.confirm_second_factor(actor=actor_of(business), password=PASSWORD, code=made.at(clock.now()))
    return made


def test_the_page_asks_for_it_and_the_signature_says_so(client, business, generator, poc_gate):
    client.force_login(business, backend="django.contrib.auth.backends.ModelBackend")
    assert 'name="code"' in client.get(f"/gates/{poc_gate.id}/").content.decode()
    sent = {"function": "business", "meaning": "approved", "evidence_digest": poc_gate.evidence_digest, "password": PASSWORD}
    for code in ("", "000000"):
        refused = client.post(f"/gates/{poc_gate.id}/sign/", sent | {"code": code})
        assert refused.status_code == 403 and "The code is not right, so nothing was signed" in refused.content.decode()
    assert client.post(f"/gates/{poc_gate.id}/sign/", sent | {"code": generator.at(clock.now())}).status_code == 302
    assert Signature.objects.get().method == "password and totp"


def test_rest_takes_it_too_and_nobody_else_is_asked(api, business, generator, poc_gate, client, owner):
    sent = {"function": "business", "meaning": "approved", "evidence_digest": poc_gate.evidence_digest, "password": PASSWORD}
    refused = api(business).post(f"/api/v1/gates/{poc_gate.id}/signatures/", sent)
    assert refused.status_code == 403 and "code" in refused.data["errors"] and not Signature.objects.exists()
    assert api(business).post(f"/api/v1/gates/{poc_gate.id}/signatures/", sent | {"code": generator.at(clock.now())}).status_code == 201
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    assert 'name="code"' not in client.get(f"/gates/{poc_gate.id}/").content.decode()
