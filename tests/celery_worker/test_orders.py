"""The message contract: what is signed is what arrives, and a digest names exactly one set of files."""

import base64
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_worker import orders

from .conftest import Keys

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def refused(call: Any) -> str:
    with pytest.raises(orders.OrderRefused) as caught:
        call()
    return caught.value.reason


def test_what_was_signed_is_read_back(keys: Keys) -> None:
    payload = {"v": 1, "name": "é", "list": [1, 2.5, None, True], "nested": {"b": 1, "a": 2}}
    envelope = json.loads(json.dumps(orders.sign(payload, private_key=keys.order)))
    assert orders.verify(envelope, keys=keys.order_public) == payload
    assert envelope["payload"].index('"a"') < envelope["payload"].index('"b"'), "the text is canonical"


@given(payload=st.dictionaries(st.text(), json_values, max_size=4))
def test_any_json_object_survives_signing(keys: Keys, payload: dict[str, Any]) -> None:
    assert orders.verify(orders.sign(payload, private_key=keys.order), keys=keys.order_public) == payload


def test_a_payload_that_json_cannot_hold_is_not_signed(keys: Keys) -> None:
    assert refused(lambda: orders.sign({"x": float("nan")}, private_key=keys.order)) == "malformed"
    assert refused(lambda: orders.sign({"x": 2**60}, private_key=keys.order)) == "malformed"


def test_a_signed_text_that_is_not_canonical_is_refused(keys: Keys) -> None:
    text = '{"b": 1, "a": 2}'
    envelope = orders.sign({}, private_key=keys.order) | {
        "payload": text,
        "signature": base64.b64encode(keys.order.sign(text.encode())).decode(),
    }
    assert refused(lambda: orders.verify(envelope, keys=keys.order_public)) == "malformed"


def test_a_name_given_twice_cannot_hide_in_a_signed_text(keys: Keys) -> None:
    text = '{"kind":"start","kind":"stop"}'
    envelope = orders.sign({}, private_key=keys.order) | {
        "payload": text,
        "signature": base64.b64encode(keys.order.sign(text.encode())).decode(),
    }
    assert refused(lambda: orders.verify(envelope, keys=keys.order_public)) == "malformed"


def test_an_agents_key_does_not_sign_orders(keys: Keys) -> None:
    envelope = orders.sign({"kind": "start"}, private_key=keys.agent)
    assert refused(lambda: orders.verify(envelope, keys=keys.order_public)) == "unknown_key"


def test_a_huge_payload_is_refused(keys: Keys) -> None:
    envelope = orders.sign({"x": "a" * (orders.MAX_PAYLOAD_BYTES + 1)}, private_key=keys.order)
    assert refused(lambda: orders.verify(envelope, keys=keys.order_public)) == "malformed"


# --- artifact tokens and acknowledgements ------------------------------------------------------------------------


def make_token(keys: Keys, **changes: Any) -> str:
    given = {"version_id": "7", "digest": "sha256:" + "a" * 64, "audience": "h1", "expires_at": LATER}
    return orders.make_artifact_token(**(given | changes), private_key=keys.order)


def test_an_artifact_token_names_version_digest_audience_and_end(keys: Keys) -> None:
    payload = orders.read_artifact_token(make_token(keys), keys.order_public, NOW)
    assert (payload["version_id"], payload["audience"]) == ("7", "h1")
    assert payload["expires_at"] == orders.time_to_text(LATER)


def test_an_artifact_token_ends(keys: Keys) -> None:
    assert refused(lambda: orders.read_artifact_token(make_token(keys), keys.order_public, LATER)) == "expired"


@pytest.mark.parametrize("token", ["", "####", "e30=", "a" * 20_000, base64.urlsafe_b64encode(b"[1]").decode()])
def test_what_is_no_token_is_refused(keys: Keys, token: str) -> None:
    assert refused(lambda: orders.read_artifact_token(token, keys.order_public, NOW)) in ("malformed", "unsigned")


def test_an_order_is_no_artifact_token(keys: Keys) -> None:
    envelope = orders.sign({"kind": "start", "expires_at": orders.time_to_text(LATER)}, private_key=keys.order)
    token = base64.urlsafe_b64encode(json.dumps(envelope).encode()).decode()
    assert refused(lambda: orders.read_artifact_token(token, keys.order_public, NOW)) == "malformed"


def test_an_acknowledgement_is_for_one_agent(keys: Keys) -> None:
    envelope = orders.make_acknowledgement(report_ids=["a"], audience="h1", issued_at=NOW, private_key=keys.order)
    assert orders.read_acknowledgement(envelope, keys=keys.order_public, audience="h1") == ["a"]
    assert refused(lambda: orders.read_acknowledgement(envelope, keys=keys.order_public, audience="h2")) == "misaddressed"
    order = orders.sign({"audience": "h1", "report_ids": ["a"]}, private_key=keys.order)
    assert refused(lambda: orders.read_acknowledgement(order, keys=keys.order_public, audience="h1")) == "misaddressed"


# --- digests -----------------------------------------------------------------------------------------------------


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_the_digest_is_that_of_the_canonical_manifest(tmp_path: Path) -> None:
    folder = fill(tmp_path, {"MLmodel": b"a", "data/model.skops": b""})
    (tmp_path / "empty").mkdir()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    one = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    manifest = {"files": {"MLmodel": one, "data/model.skops": empty}}
    assert orders.manifest_of_folder(folder) == manifest
    assert orders.digest_of_folder(folder) == orders.digest_of_manifest(manifest)


@pytest.mark.parametrize(
    "other",
    [{"a": b"1", "b": b"3"}, {"a": b"1"}, {"a": b"1", "c": b"2"}, {"a": b"1", "b": b"2", "c": b""}, {"a": b"2", "b": b"1"}],
)
def test_another_content_name_or_number_of_files_is_another_digest(tmp_path: Path, other: dict[str, bytes]) -> None:
    base = fill(tmp_path / "base", {"a": b"1", "b": b"2"})
    assert orders.digest_of_folder(base) != orders.digest_of_folder(fill(tmp_path / "other", other))


def test_a_link_or_a_pipe_in_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "link").symlink_to("/etc/passwd")
    (tmp_path / "two").mkdir()
    os.mkfifo(tmp_path / "two" / "pipe")
    for name in ("one", "two", "missing"):
        with pytest.raises(ValueError, match=r"regular file|not a folder"):
            orders.digest_of_folder(tmp_path / name)


# --- keys --------------------------------------------------------------------------------------------------------


def test_a_private_key_is_readable_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    key = orders.generate_private_key(tmp_path / "key.pem")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    loaded = orders.load_private_key(tmp_path / "key.pem")
    assert orders.raw_public(loaded.public_key()) == orders.raw_public(key.public_key())
    with pytest.raises(FileExistsError):
        orders.generate_private_key(tmp_path / "key.pem")


def test_public_keys_are_chosen_by_purpose_and_checked_against_their_id(tmp_path: Path, keys: Keys) -> None:
    entries = [
        orders.public_entry(keys.order.public_key(), purpose="order"),
        orders.public_entry(keys.agent.public_key(), purpose="agent"),
    ]
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": entries}))
    assert list(orders.load_public_keys(path, purpose="agent")) == list(keys.agent_public)
    assert len(orders.load_public_keys(path)) == 2
    entries[0]["key_id"] = entries[1]["key_id"]
    path.write_text(json.dumps({"keys": entries}))
    with pytest.raises(ValueError, match="does not match"):
        orders.load_public_keys(path)


def test_a_time_without_a_zone_is_refused() -> None:
    assert refused(lambda: orders.time_from_text("2026-01-01T00:00:00", field="issued_at")) == "malformed"
    with pytest.raises(ValueError, match="aware"):
        orders.time_to_text(datetime(2026, 1, 1))
