"""A spool line's rows, worked out without processes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.convert import features_of, rows_of_line, rows_of_tensor

META = {
    "request_id": "r",
    "endpoint_id": "6f1c1a52-35a8-4d0e-8f0e-0f7f6c1d2a11",
    "deployment_id": "d",
    "model_version": "claims/1",
    "shadow": False,
    "received_at_us": 1,
    "latency_ms": 1,
    "status": 200,
}


def tensor(name: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": "FP64", "data": data}


@pytest.mark.parametrize(
    ("shape", "data", "rows"),
    [
        ([3], [1, 2, 3], [1, 2, 3]),
        ([3, 1], [1, 2, 3], [1, 2, 3]),
        ([3, 1], [[1], [2], [3]], [1, 2, 3]),
        ([2, 2], [1, 2, 3, 4], [[1, 2], [3, 4]]),
        ([2, 2], [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        ([1, 2, 2], [1, 2, 3, 4], [[1, 2, 3, 4]]),
        ([2], ["x", None], ["x", None]),
    ],
)
def test_flat_and_nested_tensors_give_the_same_rows(
    shape: list[int], data: list[Any], rows: list[Any]
) -> None:
    assert rows_of_tensor(tensor("t", shape, data)) == rows


def test_a_tensor_whose_data_does_not_fill_its_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="disagree"):
        rows_of_tensor(tensor("t", [3], [1, 2]))


def test_features_of_columns_and_of_matrices() -> None:
    assert features_of([tensor("a", [2], [1, 2]), tensor("b", [2], ["x", "y"])], None) == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert features_of([tensor("input-0", [1, 2], [1, 2])], ["age", "pay"]) == [{"age": 1, "pay": 2}]
    assert features_of([tensor("input-0", [1, 1], [1])], ["age"]) == [{"age": 1}]
    assert features_of([tensor("age", [1, 1], [1])], None) == [{"age": 1}]
    assert features_of([tensor("m", [1, 2], [1, 2])], ["one"]) == [{"m[0]": 1, "m[1]": 2}]
    assert features_of([tensor("v", [1, 2], [1, 2]), tensor("a", [1], [5])], None) == [{"v": [1, 2], "a": 5}]


def test_an_answer_of_another_length_gives_rows_without_a_prediction() -> None:
    answer = {"outputs": [tensor("prediction", [1], [1])]}
    rows = rows_of_line({"m": META, "q": {"inputs": [tensor("a", [2], [1, 2])]}, "a": answer})
    assert [(row["row"], row["prediction"], row["probability"]) for row in rows] == [
        (0, None, None),
        (1, None, None),
    ]


def test_the_first_output_stands_in_when_none_is_called_prediction() -> None:
    answer = {"outputs": [tensor("label", [1, 2], [3, 4]), tensor("probability", [1], [0.5])]}
    (row,) = rows_of_line({"m": META, "q": {"inputs": [tensor("a", [1], [1])]}, "a": answer})
    assert (row["prediction"], row["probability"]) == ("[3,4]", 0.5)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(request=json_values, answer=json_values)
def test_whatever_request_and_answer_look_like_there_is_a_strict_row(request: Any, answer: Any) -> None:
    rows = rows_of_line({"m": META, "q": request, "a": answer})
    assert rows
    for row in rows:
        json.loads(row["features"], parse_constant=pytest.fail)


@given(inputs=st.lists(json_values, max_size=3), outputs=st.lists(json_values, max_size=3))
def test_crooked_tensors_never_break_the_conversion(inputs: list[Any], outputs: list[Any]) -> None:
    assert rows_of_line({"m": META, "q": {"inputs": inputs}, "a": {"outputs": outputs}})


def test_numbers_json_cannot_hold_become_null() -> None:
    (row,) = rows_of_line(json.loads(json.dumps({"m": META, "q": {"inputs": [tensor("a", [1], [1e999])]}})))
    assert row["features"] == '{"a":null}'
