"""Batches land or are refused, repeats change nothing, corrections are seen."""

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit.models import Event
from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.kpis import selectors, services
from apps.kpis.models import Measurement
from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db


def send(actor, kpi, rows, mode="all"):
    return services.record_measurements(actor=actor, kpi_id=kpi.id, rows=rows, mode=mode)


def test_a_batch_lands_with_one_event(define, rows, owner, actor_of):
    kpi = define()
    report = send(actor_of(owner), kpi, rows([10.0, 11.0]))
    assert (report.accepted, report.corrected, report.repeated, report.refused) == (2, 0, 0, [])
    assert [m.value for m in selectors.series(kpi)] == [10_000.0, 11_000.0]
    assert Event.objects.filter(action="kpis.measurements.recorded").count() == 1


def test_the_same_batch_again_changes_nothing(define, rows, owner, actor_of):
    kpi = define()
    send(actor_of(owner), kpi, rows([10.0, 11.0]))
    report = send(actor_of(owner), kpi, rows([10.0, 11.0]))
    assert (report.accepted, report.repeated) == (0, 2)
    assert Measurement.objects.count() == 2 and Event.objects.filter(action="kpis.measurements.recorded").count() == 1


def test_a_correction_takes_the_place_and_the_old_row_stays(define, rows, owner, actor_of):
    kpi = define()
    send(actor_of(owner), kpi, rows([10.0]))
    report = send(actor_of(owner), kpi, rows([12.0]))
    assert (report.accepted, report.corrected) == (0, 1)
    assert [m.value for m in selectors.series(kpi)] == [12_000.0]
    old = Measurement.objects.get(value=10_000.0)
    assert old.superseded_by.value == 12_000.0


def test_ten_thousand_rows_half_of_them_bad(define, rows, owner, actor_of):
    kpi = define()
    batch = rows([10.0] * 10_000, start=-10_000)
    for row in batch[::2]:
        row["denominator"] = 0
    with pytest.raises(Invalid) as refused:
        send(actor_of(owner), kpi, batch)
    assert len(refused.value.extra["refused"]) == 5_000 and refused.value.extra["refused"][1]["row"] == 2
    assert "nothing was stored" in refused.value.detail and not Measurement.objects.exists()
    report = send(actor_of(owner), kpi, batch, mode="good")
    assert report.accepted == 5_000 and Measurement.objects.count() == 5_000
    assert report.refused[0] == {"row": 0, "errors": {"denominator": "It must be more than 0."}}


def test_one_external_id_with_two_contents_in_a_batch_is_an_error(define, rows, owner, actor_of):
    kpi = define()
    first, second = rows([10.0])[0], rows([12.0])[0]
    with pytest.raises(Invalid, match="external_id"):
        send(actor_of(owner), kpi, [first, second])
    assert send(actor_of(owner), kpi, [first, dict(first)]).repeated == 1


def test_readers_and_strangers_cannot_measure(define, rows, owner, make_user, actor_of, usecase):
    kpi, reader = define(), make_user("ml_engineer")
    with pytest.raises(NotFound):
        send(actor_of(make_user("ml_engineer")), kpi, rows([1.0]))
    usecases.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
    with pytest.raises(NotAllowed):
        send(actor_of(reader), kpi, rows([1.0]))


@pytest.mark.parametrize("statement", ["UPDATE kpis_measurement SET value = 1", "DELETE FROM kpis_measurement"])
def test_raw_sql_cannot_change_what_was_measured(define, rows, owner, actor_of, statement):
    send(actor_of(owner), define(), rows([10.0]))
    with pytest.raises(DatabaseError, match="measurement is kept"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
