"""What the engine lets through to a model: names, types, nulls and shapes, each refusal naming the column."""

import json
from typing import Any

import numpy as np
import pytest

from celery_worker.serving.kserve.checks import Column, InvalidRequest, Schema, output_tensor

AGE, SALARY, CITY = Column("age", "long"), Column("salary"), Column("city", "string")
NUMBERS = Schema([AGE, SALARY, Column("bonus", "double", required=False), Column("member", "boolean")])


def tensor(name: str, data: list[Any], datatype: str = "FP64", shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def good() -> list[dict[str, Any]]:
    return [
        tensor("salary", [10.5, 2]),
        tensor("age", [30, 40], "INT64"),
        tensor("bonus", [None, 1.0]),
        tensor("member", [True, False], "BOOL"),
    ]


def refusal(schema: Schema, request: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        schema.read(request)
    return caught.value


def test_named_columns_come_out_in_signature_order() -> None:
    batch = NUMBERS.read({"inputs": good()})
    assert batch.rows == 2
    np.testing.assert_array_equal(batch.matrix, [[30, 10.5, np.nan, 1], [40, 2, 1, 0]])


def test_an_optional_column_may_be_left_out_and_a_column_vector_is_taken() -> None:
    inputs = [good()[0], tensor("age", [[30], [40]], "INT64", [2, 1]), good()[3]]
    batch = NUMBERS.read({"inputs": inputs})
    np.testing.assert_array_equal(batch.matrix, [[30, 10.5, np.nan, 1], [40, 2, np.nan, 0]])


@pytest.mark.parametrize(
    ("place", "replacement", "status", "words"),
    [
        (1, tensor("age", [30, 40.5], "INT64"), 422, "'age': the value in row 1 is not a whole number"),
        (1, tensor("age", [30, 40]), 422, "'age' must hold a whole number"),
        (1, tensor("age", [30, 2**60], "INT64"), 422, "'age' holds a number too large"),
        (0, tensor("salary", [1.0, None]), 422, "'salary': the value in row 1 is null"),
        (0, tensor("salary", ["1.5", 2.0]), 422, "'salary': the value in row 0 is not a number"),
        (0, tensor("salary", [True, 2.0]), 422, "'salary': the value in row 0 is not a number"),
        (0, tensor("salary", [1.0]), 422, "'age'"),
        (0, tensor("salary", [1.0, 2.0, 3.0], shape=[2]), 422, "list of 2 values"),
        (0, tensor("salary", [1.0, 2.0], shape=[2, 2]), 422, "'salary'"),
        (0, tensor("salary", [[1.0, 2.0], [2.0, 3.0]], shape=[2, 1]), 422, "'salary'"),
        (0, tensor("salary", [], shape=[0]), 422, "rows"),
        (0, tensor("salary", [10**400, 1]), 422, "too large"),
        (0, tensor("income", [1.0, 2.0]), 422, "Unknown input 'income'"),
        (0, tensor("age", [1, 2], "INT64"), 422, "'age' is given twice"),
        (3, tensor("member", [1, 0], "INT64"), 422, "'member' must hold true or false"),
        (0, {"name": "salary"}, 400, "shape, datatype and data"),
        (0, "salary", 400, "shape, datatype and data"),
        (0, {"name": ["a"], "shape": [2], "data": [1, 2], "datatype": "FP64"}, 400, "shape, datatype and data"),
    ],
)
def test_a_wrong_column_is_named(place: int, replacement: Any, status: int, words: str) -> None:
    inputs: list[Any] = good()
    inputs[place] = replacement
    error = refusal(NUMBERS, {"inputs": inputs})
    assert error.status == status
    assert words in error.detail


def test_a_missing_column_is_named() -> None:
    assert "'age' is missing" in refusal(NUMBERS, {"inputs": [good()[0], good()[3]]}).detail


def test_a_value_is_never_repeated_in_a_refusal() -> None:
    error = refusal(NUMBERS, {"inputs": [tensor("salary", ["secret", 1.0]), *good()[1:]]})
    assert "secret" not in error.detail


@pytest.mark.parametrize("request_", [None, [], {}, {"inputs": []}, {"inputs": {}}, "x"])
def test_what_is_not_the_protocol_is_refused(request_: Any) -> None:
    assert refusal(NUMBERS, request_).status == 400


def test_infinity_is_refused_where_every_column_is_required() -> None:
    plain = Schema([Column("a"), Column("b")])
    assert "'b'" in refusal(plain, {"inputs": [tensor("a", [1.0]), tensor("b", [float("inf")])]}).detail


def test_text_columns_stay_lists() -> None:
    schema = Schema([SALARY, CITY])
    batch = schema.read({"inputs": [tensor("city", ["Bonn"], "BYTES"), tensor("salary", [1])]})
    assert batch.matrix is None
    assert batch.columns == {"salary": [1], "city": ["Bonn"]}
    assert "'city'" in refusal(schema, {"inputs": [tensor("city", [5], "BYTES"), tensor("salary", [1])]}).detail
    one = {"name": "input-0", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}
    assert "named inputs" in refusal(schema, {"inputs": [one]}).detail


@pytest.mark.parametrize("data", [[1, 2, 3, 4.5], [[1, 2], [3, 4.5]]])
def test_one_tensor_in_signature_order_is_taken_flat_or_nested(data: list[Any]) -> None:
    schema = Schema([Column("a", "long"), Column("b")])
    batch = schema.read({"inputs": [tensor("input-0", data, shape=[2, 2])]})
    np.testing.assert_array_equal(batch.matrix, [[1, 2], [3, 4.5]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [2, 3]}, "shape [n, 2]"),
        ({"shape": [4]}, "shape [n, 2]"),
        ({"data": [1, 2, 3]}, "3 values"),
        ({"data": [1, None, 3, 4]}, "'b'"),
        ({"data": [1, 2, 3.5, 4]}, "'a' must hold a whole number"),
        ({"data": [[1, 2], [3]]}, "rows of 2"),
        ({"data": 5}, "list"),
        ({"datatype": "BYTES"}, "numbers"),
    ],
)
def test_a_wrong_tensor_is_refused(change: dict[str, Any], words: str) -> None:
    schema = Schema([Column("a", "long"), Column("b")])
    request = {"inputs": [tensor("input-0", [1, 2, 3, 4], shape=[2, 2]) | change]}
    assert words in refusal(schema, request).detail


def test_a_signature_is_read_and_what_cannot_be_served_is_refused() -> None:
    columns = [{"name": "a", "type": "double", "required": True}, {"name": "b", "type": "string", "required": False}]
    assert Schema.from_signature(json.dumps(columns)).columns == (Column("a"), Column("b", "string", False))
    wide = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}]
    assert Schema.from_signature(json.dumps(wide)).names == ["x0", "x1", "x2"]
    image = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 8, 8]}}]
    for bad in ([{"name": "a", "type": "datetime"}], columns[:1] * 2, [], image):
        with pytest.raises(ValueError, match=r"serve|twice|names no input"):
            Schema.from_signature(json.dumps(bad))


@pytest.mark.parametrize(
    ("values", "datatype", "data"),
    [
        (np.array([1, 0]), "INT64", [1, 0]),
        (np.array([0.5], dtype=np.float32), "FP32", [0.5]),
        (np.array([True]), "BOOL", [True]),
        (np.array(["yes", "no"]), "BYTES", ["yes", "no"]),
        (np.array([[1.0, 2.0]]), "FP64", [1.0, 2.0]),
    ],
)
def test_outputs_carry_their_datatype_and_shape(values: Any, datatype: str, data: list[Any]) -> None:
    output = output_tensor("prediction", values)
    assert (output["datatype"], output["data"], output["shape"]) == (datatype, data, list(values.shape))
