"""Nobody replaces, or imitates, what the portal has measured itself."""

from datetime import timedelta

import pytest

from apps.core import clock
from apps.core.errors import Invalid
from apps.kpis import services

pytestmark = pytest.mark.django_db


@pytest.fixture
def mean_kpi(define):
    return define(aggregation="mean", scale=1.0)


def row(**changed):
    end = clock.now() - timedelta(days=1)
    return {"period_start": end - timedelta(days=1), "period_end": end, "value": 5.0, "external_id": "theirs-1"} | changed


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("external_id", "monitor:0190:2026-11-01:care-outreach/1"),
        ("source", "portal: Cost of decisions"),
        ("source", "Portal: Cost of decisions"),
        ("period_end", lambda: clock.now() + timedelta(days=1)),
    ],
)
def test_marks_and_periods_that_are_not_theirs_are_refused_by_field(owner, mean_kpi, actor_of, field, value):
    wrong = row(**{field: value() if callable(value) else value})
    with pytest.raises(Invalid) as refused:
        services.record_measurements(actor=actor_of(owner), kpi_id=mean_kpi.id, rows=[wrong])
    assert f"rows[0].{field}" in refused.value.errors and not mean_kpi.measurements.exists()


def test_the_portal_itself_may_and_figures_stand_in_the_trail(owner, mean_kpi, actor_of):
    from apps.audit.models import Event

    made = row(external_id="monitor:1", source="portal: Cost")
    assert services.record_measurements(actor=actor_of(owner), kpi_id=mean_kpi.id, rows=[made], by_the_portal=True).accepted == 1
    event = Event.objects.get(action="kpis.measurements.recorded", usecase_id=mean_kpi.usecase_id)
    assert '"first_rows":[["monitor:1",5,1,"","portal: Cost"]]' in event.payload
