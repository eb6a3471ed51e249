"""A key that was rotated out is trusted by the gateway until its time, and no longer."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from celery_worker import orders
from gateway.envelope import EnvelopeRefused, load_public_keys, verify


@pytest.mark.parametrize(("hours", "trusted"), [(1, True), (-1, False), (None, True)])
def test_a_key_is_trusted_until_its_time(tmp_path: Path, hours: int | None, trusted: bool) -> None:
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    entry = orders.public_entry(old.public_key(), purpose="order")
    if hours is not None:
        entry["accepted_until"] = orders.time_to_text(datetime.now(UTC) + timedelta(hours=hours))
    file = tmp_path / "order-public.json"
    file.write_text(json.dumps({"keys": [orders.public_entry(new.public_key(), purpose="order"), entry], "retired": [entry]}))
    keys = load_public_keys(file, purpose="order")
    assert orders.key_id(new.public_key()) in keys
    envelope = orders.sign({"version": 1}, private_key=old)
    if trusted:
        assert verify(envelope, keys=keys) == {"version": 1}
    else:
        with pytest.raises(EnvelopeRefused, match="unknown_key"):
            verify(envelope, keys=keys)


@pytest.mark.parametrize("until", ["2026-12-01T00:00:00", "tomorrow", 5])
def test_a_time_that_may_mean_anything_is_refused_as_a_bad_file_is(tmp_path: Path, until: object) -> None:
    entry = {**orders.public_entry(Ed25519PrivateKey.generate().public_key(), purpose="order"), "accepted_until": until}
    file = tmp_path / "order-public.json"
    file.write_text(json.dumps({"keys": [entry]}))
    with pytest.raises(ValueError, match=r"time zone|isoformat"):
        load_public_keys(file, purpose="order")
