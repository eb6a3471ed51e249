"""Addresses that are called and not called, signatures, pauses."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from apps.notices import rules

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "url",
    ["https://ci.example.org/hook", "https://10.1.2.3:8443/x", "https://[fd00::1]/x", "https://ci.intranet/hook?key=1"],
)
def test_addresses_on_the_inside_and_outside_are_called(url):
    assert rules.address_problem(url, loopback_allowed=False) == ""


@pytest.mark.parametrize(
    "url",
    [
        "", "ci.example.org", "ftp://ci.example.org", "http://ci.example.org/hook", "https://user:pass@ci.example.org/", "https://x:99999/",
        "https://x:0/", "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0/", "https://224.0.0.1/", "https://[::ffff:169.254.169.254]/", "https://a b/", "https://" + "x" * 1001,
    ],
)  # fmt: skip
def test_other_addresses_are_not_and_the_sentence_says_why(url):
    problem = rules.address_problem(url, loopback_allowed=False)
    assert len(problem) > 20 and problem.endswith(".")


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1%eth0", "0.0.0.0", "224.0.0.1", "240.0.0.1"])
def test_a_name_that_leads_to_such_a_number_is_not_called_either(address):
    assert not rules.callable_address(address, loopback_allowed=True)


def test_loopback_is_called_only_where_it_is_allowed():
    assert rules.callable_address("127.0.0.1", loopback_allowed=True) and not rules.callable_address("127.0.0.1", loopback_allowed=False)
    assert not rules.callable_address("::ffff:127.0.0.1", loopback_allowed=False)


def test_the_signature_is_that_of_standard_webhooks():
    # The example of the specification's reference libraries.
    key, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", '{"test": 2432232314}'
    assert rules.signature(key, notice_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body=body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_each_key_in_force_signs():
    keys = [rules.new_key(), rules.new_key()]
    signed = rules.headers(keys, notice_id="n", timestamp=1, body="é")["webhook-signature"].split(" ")
    for key, one in zip(keys, signed, strict=True):
        secret = base64.b64decode(key.removeprefix("whsec_"))
        assert len(secret) == 32
        assert one == "v1," + base64.b64encode(hmac.new(secret, "n.1.é".encode(), hashlib.sha256).digest()).decode()


def test_pauses_grow_and_end():
    moments = [rules.next_try(n, NOW, rules.PAUSES) for n in range(1, len(rules.PAUSES) + 2)]
    assert moments[0] == NOW + timedelta(seconds=5) and moments[-1] is None
    assert sum(rules.PAUSES, timedelta()) > timedelta(days=3)


def test_the_receivers_recipe_of_the_documents_holds():
    from pathlib import Path

    text = (Path(__file__).resolve().parents[2] / "docs/how-to/webhooks.md").read_text()
    recipe: dict = {}
    exec(text.split("```python\n")[1].split("```")[0], recipe)
    key, body, stamp = rules.new_key(), '{"a":"é"}', int(recipe["time"].time())
    headers = rules.headers([rules.new_key(), key], notice_id="n", timestamp=stamp, body=body)
    assert recipe["is_genuine"](key, headers, body.encode()) and not recipe["is_genuine"](key, headers, body.encode() + b" ")
    old = rules.headers([key], notice_id="n", timestamp=stamp - 301, body=body)
    assert not recipe["is_genuine"](key, old, body.encode())
