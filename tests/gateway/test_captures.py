"""What is captured: one row per input row, shadows and errors too, as Parquet in the agreed form."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tests.gateway.support import (
    Engine,
    GatewayProcess,
    Portal,
    columns,
    endpoint,
    new_key,
    wait_until,
)


def test_every_row_of_a_request_becomes_a_row(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    claims = endpoint("claims", [key], [engine.route()])
    own_portal.publish(claims)
    own_gateway.start()
    before = datetime.now(UTC)
    body = columns(a=[1.25, 2.0, 3.5], b=[10.0, 20.0, 30.0]) | {"id": "batch-1"}
    pretty = json.dumps(body, indent=2).encode()
    answer = own_gateway.infer("claims", key, pretty)
    rows = own_gateway.settled_rows()
    assert [row["row"] for row in rows] == [0, 1, 2]
    assert [json.loads(row["features"]) for row in rows] == [
        {"a": 1.25, "b": 10.0},
        {"a": 2.0, "b": 20.0},
        {"a": 3.5, "b": 30.0},
    ]
    assert [json.loads(row["prediction"]) for row in rows] == [11, 22, 34]
    assert [row["probability"] for row in rows] == [0.25, 0.0, 0.5]
    for row in rows:
        assert row["request_id"] == answer.headers["x-gatehouse-request-id"]
        assert row["client_id"] == "batch-1"
        assert row["endpoint_id"] == claims["id"]
        assert row["deployment_id"] == engine.route()["deployment_id"]
        assert row["model_version"] == "claims/1"
        assert (row["shadow"], row["status"]) == (False, 200)
        assert before - timedelta(seconds=1) <= row["received_at"] <= datetime.now(UTC)
        assert 0 < row["latency_ms"] < 60_000


def test_files_have_the_agreed_schema_and_place_and_read_as_one_dataset(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    claims = endpoint("claims", [key], [engine.route()])
    own_portal.publish(claims)
    own_gateway.start()
    own_gateway.infer("claims", key, columns(a=[1.0]))
    own_gateway.settled_rows()
    own_gateway.infer("claims", key, columns(a=[2.0]))
    own_gateway.settled_rows()
    files = list(own_gateway.captures.glob("*/dt=*/*.parquet"))
    assert len(files) == 2
    day = datetime.now(UTC).date()
    for path in files:
        assert path.parent.parent.name == claims["id"]
        assert abs(datetime.fromisoformat(path.parent.name.removeprefix("dt=")).date() - day) <= timedelta(1)
    schema = pq.read_schema(files[0])
    assert schema.names == [
        *("request_id", "endpoint_id", "deployment_id", "model_version", "shadow", "received_at"),
        *("latency_ms", "status", "row", "features", "prediction", "probability", "client_id"),
    ]
    assert schema.field("received_at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("row").type == pa.int32()
    table = ds.dataset(own_gateway.captures, format="parquet", partitioning="hive").to_table()
    assert sorted(table.column("features").to_pylist()) == ['{"a":1.0}', '{"a":2.0}']


def test_a_matrix_is_spread_over_the_endpoints_feature_names(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(
        endpoint("named", [key], [engine.route()], feature_names=["age", "income"]),
        endpoint("bare", [key], [engine.route()]),
    )
    own_gateway.start()
    flat = {"inputs": [{"name": "input-0", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}]}
    nested = {"inputs": [{"name": "input-0", "shape": [2, 2], "datatype": "FP64", "data": [[1, 2], [3, 4]]}]}
    for body in (flat, nested):
        assert own_gateway.infer("named", key, body).status == 200
    own_gateway.infer("bare", key, flat)
    features = [json.loads(row["features"]) for row in own_gateway.settled_rows()]
    named = [{"age": 1, "income": 2}, {"age": 3, "income": 4}]
    bare = [{"input-0[0]": 1, "input-0[1]": 2}, {"input-0[0]": 3, "input-0[1]": 4}]
    for expected, times in ((named, 2), (bare, 1)):
        for row in expected:
            assert features.count(row) == times
    assert len(features) == 6


def test_a_shadow_gets_a_copy_and_its_answer_is_only_captured(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine, second_engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(
        endpoint("claims", [key], [engine.route(), second_engine.route(version=2, shadow=True)])
    )
    own_gateway.start()
    answers = [own_gateway.infer("claims", key, columns(a=[float(n)])) for n in range(10)]
    assert {answer.json["model_version"] for answer in answers} == {"1"}
    wait_until(lambda: sum(row["shadow"] for row in own_gateway.rows()) == 10, "ten shadow rows")
    rows = own_gateway.settled_rows()
    shadows = {row["request_id"]: row for row in rows if row["shadow"]}
    for n, answer in enumerate(answers):
        shadow = shadows[answer.headers["x-gatehouse-request-id"]]
        assert shadow["model_version"] == "claims/2"
        assert json.loads(shadow["prediction"]) == 1000 + n
    assert sum(not row["shadow"] for row in rows) == 10
    assert own_gateway.infer("claims/versions/2", key, columns(a=[1.0])).status == 404


def test_a_request_the_engine_refuses_is_captured_without_a_prediction(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(endpoint("claims", [key], [engine.route()]))
    own_gateway.start()
    own_gateway.infer("claims", key, columns(a=[1.0, 2.0]) | {"parameters": {"mode": "refuse"}})
    crooked = {"inputs": [{"name": "a", "shape": [3], "datatype": "FP64", "data": [[["x"]]]}]}
    assert own_gateway.infer("claims", key, crooked).status == 422
    rows = own_gateway.settled_rows()
    assert [(row["status"], row["prediction"]) for row in rows] == [(422, None)] * 3
    assert sorted(row["features"] for row in rows) == ['{"a":1.0}', '{"a":2.0}', "{}"]


def test_a_prediction_that_cannot_be_recorded_is_not_given(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(endpoint("claims", [key], [engine.route()]))
    own_gateway.start()
    spool = own_gateway.state / "spool"
    away = own_gateway.state / "away"
    spool.rename(away)
    answer = own_gateway.infer("claims", key, columns(a=[1.0]))
    assert (answer.status, answer.json["code"]) == (503, "not-captured")
    assert b"outputs" not in answer.body
    assert own_gateway.get("/v2/health/ready").status == 503
    away.rename(spool)
    wait_until(lambda: own_gateway.get("/v2/health/ready").status == 200, "ready without being asked")
    assert own_gateway.infer("claims", key, columns(a=[2.0])).status == 200
    assert [row["features"] for row in own_gateway.settled_rows()] == ['{"a":2.0}']
