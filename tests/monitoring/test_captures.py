"""Counting what was answered, from the Parquet files alone."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from apps.monitoring.gateways import captures
from tests.monitoring.traffic import Traffic

pytestmark = pytest.mark.django_db
DAY = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)


@pytest.fixture
def traffic(settings, tmp_path, endpoints):
    settings.CAPTURE_DIR = tmp_path
    return Traffic(tmp_path, endpoints())


def test_counts_are_per_version_and_the_share_leaves_copies_out(api, engineer, traffic):
    a, b = str(uuid.uuid4()), str(uuid.uuid4())
    traffic.write([{"deployment_id": a, "model_version": "m/1"}] * 90 + [{"deployment_id": b, "model_version": "m/2"}] * 10, DAY)
    traffic.write([{"deployment_id": a, "model_version": "m/1", "shadow": True}] * 10 + [{"deployment_id": b, "model_version": "m/2", "status": 500}], DAY)
    found = api(engineer).get(f"/api/v1/endpoints/{traffic.endpoint.slug}/captures/").json()
    rows = {(r["model_version"], r["shadow"]): r for r in found["versions"]}
    assert found["total"] == 101
    assert (rows["m/1", False]["rows"], rows["m/2", False]["rows"], rows["m/2", False]["errors"], rows["m/1", True]["rows"]) == (90, 11, 1, 10)
    assert rows["m/2", False]["share"] == pytest.approx(11 / 101) and rows["m/1", True]["share"] is None


def test_a_time_span_crosses_midnight_and_leaves_out_what_is_outside(api, engineer, traffic):
    traffic.write([{}] * 5, DAY)
    traffic.write([{}] * 7, DAY + timedelta(seconds=2))
    traffic.write([{}] * 9, DAY + timedelta(days=3))
    client, path = api(engineer), f"/api/v1/endpoints/{traffic.endpoint.slug}/captures/"
    since, until = quote(DAY.isoformat()), quote((DAY + timedelta(hours=1)).isoformat())
    assert client.get(f"{path}?since={since}&until={until}").json()["total"] == 12
    assert client.get(f"{path}?since={quote((DAY + timedelta(seconds=1)).isoformat())}&until={until}").json()["total"] == 7
    assert client.get(f"{path}?since={DAY.isoformat()}").json()["total"] == 21
    assert client.get(f"{path}?since=yesterday").status_code == 400
    assert client.get(f"{path}?since=2026-11-20T00:00:00").status_code == 400


def test_nothing_captured_is_zero_and_strangers_see_nothing(api, engineer, make_user, traffic):
    path = f"/api/v1/endpoints/{traffic.endpoint.slug}/captures/"
    assert api(engineer).get(path).json() == {"endpoint": str(traffic.endpoint.id), "since": None, "until": None, "total": 0, "versions": []}
    assert api(make_user("ml_engineer")).get(path).status_code == 404


def test_an_endpoint_id_that_is_no_uuid_opens_no_folder():
    with pytest.raises(ValueError):
        captures.read("../../etc")


def test_features_become_columns_with_what_is_missing(traffic):
    traffic.write([{"features": json.dumps(f)} for f in ({"a": 1, "b": "x"}, {"a": None, "b": "y"}, {"b": None, "c": True})], DAY)
    columns = captures.feature_columns(captures.read(traffic.endpoint.id, columns=["features"]).column("features"))
    assert sorted(columns) == ["a", "b", "c"]
    assert columns["b"].tolist() == ["x", "y", None] and columns["c"].tolist()[2] == 1.0
    assert columns["a"].tolist()[0] == 1.0 and columns["a"].tolist()[1] != columns["a"].tolist()[1]


def test_a_feature_that_changes_its_type_is_still_read(traffic):
    traffic.write([{"features": json.dumps({"a": 1})}, {"features": json.dumps({"a": "one"})}], DAY)
    columns = captures.feature_columns(captures.read(traffic.endpoint.id, columns=["features"]).column("features"))
    assert columns["a"].tolist() == ["1", "one"]


def test_the_gateways_columns_are_the_ones_read_here():
    convert = pytest.importorskip("gateway.convert")
    assert {(f.name, str(f.type)) for f in captures.SCHEMA} <= {(f.name, str(f.type)) for f in convert.SCHEMA}
