"""Baselines: frozen once and for all, replaced only with a reason."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from apps.core.clock import now
from apps.core.errors import Conflict, Invalid
from apps.kpis import selectors, services
from apps.kpis.models import Baseline
from tests.kpis.conftest import START

pytestmark = pytest.mark.django_db


def freeze(actor, kpi, days=20, **more):
    return services.freeze_baseline(actor=actor, kpi_id=kpi.id, period_start=START, period_end=START + timedelta(days=days), **more)


def test_a_baseline_holds_value_spread_sample_and_digest(measured):
    baseline = selectors.baseline_in_force(measured.id)
    assert baseline.value == pytest.approx(10_000, rel=0.05) and 0 < baseline.spread < 500
    assert (baseline.n, len(baseline.sample)) == (2000, 20) and baseline.digest.startswith("sha256:")


def test_later_rows_and_corrections_do_not_move_it(measured, rows, owner, actor_of):
    before = selectors.effect(measured, "outreach/1")
    services.record_measurements(actor=actor_of(owner), kpi_id=measured.id, rows=rows([99.0]))
    services.record_measurements(actor=actor_of(owner), kpi_id=measured.id, rows=rows([99.0], start=5, prefix="late"))
    assert selectors.baseline_in_force(measured.id).value == pytest.approx(before.baseline)
    assert selectors.effect(measured, "outreach/1") == before


def test_rows_of_a_model_version_are_no_baseline(define, rows, owner, actor_of):
    kpi = define()
    services.record_measurements(actor=actor_of(owner), kpi_id=kpi.id, rows=rows([10.0] * 12, version="outreach/1"))
    with pytest.raises(Invalid, match="without a model"):
        freeze(actor_of(owner), kpi)


def test_an_attested_figure_needs_words(define, owner, actor_of):
    kpi = define(aggregation="percentile", scale=1.0, target=100.0, floor=200.0)
    with pytest.raises(Invalid, match="note"):
        freeze(actor_of(owner), kpi, attested_value=400.0)
    baseline = freeze(actor_of(owner), kpi, attested_value=400.0, note="The desk: today's look-up screen.")
    assert (baseline.value, baseline.spread, baseline.n) == (400.0, None, 0) and "attested" in baseline.method


def test_a_second_baseline_needs_a_reason_and_the_first_stays_readable(measured, owner, actor_of):
    with pytest.raises(Invalid, match="note"):
        freeze(actor_of(owner), measured)
    first = selectors.baseline_in_force(measured.id)
    second = freeze(actor_of(owner), measured, days=10, note="The desk changed its rule on day 11.")
    assert selectors.baseline_in_force(measured.id) == second
    assert [b.id for b in selectors.baselines(measured.id)] == [second.id, first.id]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE kpis_baseline SET value = 1",
        "UPDATE kpis_baseline SET note = 'better', superseded_at = now()",
        "UPDATE kpis_baseline SET sample = '[]'",
        "DELETE FROM kpis_baseline",
    ],
)
def test_raw_sql_cannot_change_a_frozen_baseline(measured, statement):
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_superseded_baseline_cannot_come_back(measured, owner, actor_of):
    freeze(actor_of(owner), measured, days=10, note="Changed rule.")
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        Baseline.objects.exclude(superseded_at=None).update(superseded_at=None)


def test_a_period_has_length(define, owner, actor_of):
    with pytest.raises(Invalid, match="period_end"):
        services.freeze_baseline(actor=actor_of(owner), kpi_id=define().id, period_start=now(), period_end=now() - timedelta(days=1))


def test_once_measured_a_kpi_keeps_its_meaning(measured, owner, actor_of):
    with pytest.raises(Conflict, match="direction"):
        services.change_kpi(actor=actor_of(owner), kpi_id=measured.id, direction="higher", target=None, floor=None)
    assert services.change_kpi(actor=actor_of(owner), kpi_id=measured.id, target=7500.0).target == 7500.0


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"), ({"unit": ""}, "unit"), ({"dimension": "fun"}, "dimension"), ({"direction": "up"}, "direction"),
        ({"aggregation": "median"}, "aggregation"), ({"cadence": "often"}, "cadence"), ({"target": float("nan")}, "target"),
        ({"scale": 0}, "scale"), ({"target": 11_000.0}, "floor"),
    ],
)  # fmt: skip
def test_a_definition_that_is_not_sound_names_the_field(define, changed, field):
    with pytest.raises(Invalid) as refused:
        define(**changed)
    assert field in refused.value.errors


def test_a_kpi_name_is_taken_once_a_use_case(define):
    define()
    with pytest.raises(Conflict, match="has a KPI"):
        define()
