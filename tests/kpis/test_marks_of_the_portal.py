"""Nobody replaces, or imitates, what the portal has measured itself."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

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
    assert services.record_measurements(actor=actor_of(owner), kpi_id=mean_kpi.id, rows=[made], measured_from="answers").accepted == 1
    event = Event.objects.get(action="kpis.measurements.recorded", usecase_id=mean_kpi.usecase_id)
    assert '"first_rows":[["monitor:1",5,1,"","portal: Cost"]]' in event.payload


def test_a_row_keeps_who_measured_it_and_raw_sql_cannot_claim_otherwise(owner, mean_kpi, actor_of):
    actor = actor_of(owner)
    services.record_measurements(actor=actor, kpi_id=mean_kpi.id, rows=[row()])
    services.record_measurements(
        actor=actor, kpi_id=mean_kpi.id, rows=[row(external_id="monitor:1", source="portal: Cost")], measured_from="labelled predictions"
    )
    kept = {m.external_id: (m.origin, m.recorded_by, m.counts) for m in mean_kpi.measurements.all()}
    assert kept["theirs-1"] == ("given", actor.label, "") and kept["monitor:1"] == ("measured", actor.label, "labelled predictions")
    with pytest.raises(IntegrityError, match="kpis_measured_has_the_mark"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE copied AS SELECT * FROM kpis_measurement WHERE external_id = 'theirs-1'; "
            "UPDATE copied SET id = gen_random_uuid(), external_id = 'theirs-2', origin = 'measured'; "
            "INSERT INTO kpis_measurement SELECT * FROM copied"
        )


@pytest.mark.parametrize("label", ["outreach/3", "other/1", "outreach", "v2"])
def test_a_version_that_no_linked_model_has_is_refused_by_field_with_what_there_is(owner, mean_kpi, actor_of, label):
    batch = [row(version_label="outreach/2"), row(external_id="theirs-2", version_label=label)]
    with pytest.raises(Invalid) as refused:
        services.record_measurements(actor=actor_of(owner), kpi_id=mean_kpi.id, rows=batch)
    assert list(refused.value.errors) == ["rows[1].version_label"] and not mean_kpi.measurements.exists()
    assert "outreach/1, outreach/2" in refused.value.detail and "link the model first" in refused.value.detail
    report = services.record_measurements(actor=actor_of(owner), kpi_id=mean_kpi.id, rows=batch, mode="good")
    assert report.accepted == 1 and report.refused[0]["row"] == 1 and "version_label" in report.refused[0]["errors"]


def test_without_a_linked_model_the_remedy_is_to_link_one(owner, mean_kpi, actor_of, usecase):
    usecase.used_models.all().delete()
    with pytest.raises(Invalid, match="Link the model first"):
        services.record_measurements(actor=actor_of(owner), kpi_id=mean_kpi.id, rows=[row(version_label="outreach/1")])
    assert services.record_measurements(actor=actor_of(owner), kpi_id=mean_kpi.id, rows=[row()]).accepted == 1
