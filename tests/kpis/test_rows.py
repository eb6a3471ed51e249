"""Rows of measurements: each is good or has its errors by field."""

import pytest

from apps.core.errors import Invalid
from apps.kpis.rules import rows

GOOD = {"period_start": "2026-01-01T00:00:00Z", "period_end": "2026-01-02T00:00:00Z", "value": 5, "n": 3}


def read(aggregation="mean", scale=1.0, **changed):
    row = {k: v for k, v in (GOOD | changed).items() if v != "leave out"}
    return rows.read(row, aggregation=aggregation, scale=scale)


@pytest.mark.parametrize(
    ("aggregation", "changed", "value"),
    [
        ("mean", {}, 5),
        ("mean", {"value": "leave out", "numerator": 12}, 4),
        ("sum", {"value": "leave out", "numerator": 12}, 12),
        ("percentile", {"value": 41.5}, 41.5),
        ("ratio", {"value": "leave out", "numerator": 3, "denominator": 4}, 750),
    ],
)
def test_a_good_row_has_its_value(aggregation, changed, value):
    row, errors = read(aggregation, 1000.0 if aggregation == "ratio" else 1.0, **changed)
    assert errors == {} and row.value == value


@pytest.mark.parametrize(
    ("aggregation", "changed", "field"),
    [
        ("mean", {"period_start": "yesterday"}, "period_start"),
        ("mean", {"period_start": "2026-01-01T00:00:00"}, "period_start"),
        ("mean", {"period_end": 5}, "period_end"),
        ("mean", {"period_end": "2026-01-01T00:00:00Z"}, "period_end"),
        ("mean", {"value": "5"}, "value"),
        ("mean", {"value": True}, "value"),
        ("mean", {"value": float("inf")}, "value"),
        ("mean", {"value": "leave out"}, "value"),
        ("percentile", {"value": "leave out", "numerator": 5}, "value"),
        ("mean", {"n": 0}, "n"),
        ("mean", {"n": 1.5}, "n"),
        ("mean", {"variance": -1}, "variance"),
        ("ratio", {"numerator": 5}, "denominator"),
        ("ratio", {"denominator": 5}, "numerator"),
        ("ratio", {"numerator": 5, "denominator": 0}, "denominator"),
        ("mean", {"external_id": "x" * 201}, "external_id"),
        ("mean", {"external_id": "a\x00b"}, "external_id"),
        ("mean", {"version_label": 3}, "version_label"),
        ("mean", {"colour": "blue"}, "colour"),
    ],
)
def test_a_bad_row_names_the_field(aggregation, changed, field):
    row, errors = read(aggregation, **changed)
    assert row is None and field in errors


def test_something_else_than_an_object_is_a_bad_row():
    assert rows.read([1, 2], aggregation="mean", scale=1.0) == (None, {"row": "Give an object."})


def test_without_an_external_id_the_content_names_the_row():
    first, again, other = read()[0], read()[0], read(value=6)[0]
    assert first.external_id == again.external_id != other.external_id


def test_a_batch_has_a_size_and_a_mode():
    for bad in ([], [{}] * (rows.MAX_ROWS + 1)):
        with pytest.raises(Invalid):
            rows.check_size(bad)
    with pytest.raises(Invalid):
        rows.check_mode("some")
