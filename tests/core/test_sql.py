"""Prepared statements: the same answers as Django's own way, and nothing lost or half done when PostgreSQL goes away."""

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.core import sql
from apps.core.doors import call, call_repairable
from apps.outbox import services as outbox
from apps.outbox.models import Message
from apps.registry.models import ModelVersion, RegisteredModel

VALUES = "SELECT $1::text, $2::int, $1::text LIKE '1%'"


@pytest.mark.django_db
def test_whoever_counts_statements_gets_the_same_answer():
    plain = sql.ask(VALUES, ["100 %s", 7])
    with CaptureQueriesContext(connection) as seen:
        assert sql.ask(VALUES, ["100 %s", 7]) == plain == [("100 %s", 7, True)]
        assert sql.ask_in_turn(("SELECT 1", []), None, ("SELECT 2", [])) == [[(1,)], [], [(2,)]]
    assert len(seen) == 3
    assert sql.ask_in_turn(("SELECT 1", []), None, ("SELECT 2", [])) == [[(1,)], [], [(2,)]]


@pytest.mark.django_db(transaction=True)
def test_a_kept_connection_that_has_died_is_made_anew_without_a_probe():
    def end() -> int:
        pid = sql.ask("SELECT pg_backend_pid()")[0][0]
        database = connection.settings_dict
        with psycopg.connect(
            host=database["HOST"], port=database["PORT"], user=database["USER"], password=database["PASSWORD"], dbname=database["NAME"]
        ) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
        return pid

    pid = end()
    assert sql.ask("SELECT pg_backend_pid()")[0][0] != pid
    with pytest.raises(Exception, match=r"terminat|closed|connection"), transaction.atomic():
        end()
        # Inside a transaction nothing is asked twice: half of it would be gone.
        sql.ask("SELECT 1")


@pytest.mark.django_db
def test_what_goes_together_is_undone_together():
    row = RegisteredModel(name="once")
    sql.insert(row)
    with pytest.raises(IntegrityError), transaction.atomic(), sql.together():
        outbox.put("tests.lost", {})
        sql.insert(RegisteredModel(name="once"))
        outbox.put("tests.lost too", {})
    assert not Message.objects.exists() and RegisteredModel.objects.get().id == row.id


@pytest.mark.django_db
def test_a_part_of_a_row_reads_the_rest_when_it_is_asked_for():
    stored = ModelVersion.objects.create(model=RegisteredModel.objects.create(name="m"), version=3, run_id="r", tags={"a": "b"})
    # In another order than the table's.
    part = sql.part_of(ModelVersion, tags='{"a": "b"}', run_id="r", version=3, id=stored.id)
    assert (part.id, part.version, part.run_id, part.tags) == (stored.id, 3, "r", {"a": "b"})
    assert part.get_deferred_fields() >= {"source", "status"} and part.status == "pending"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("door", "waits"), [(call, "on"), (call_repairable, "off")])
def test_only_what_is_found_again_commits_before_the_disk_has_it(door, waits):
    def look():
        return sql.ask_in_turn(("SHOW synchronous_commit", []))[0][0][0]

    assert door(look) == waits and door(look) == waits
    assert look() == "on"


@pytest.mark.django_db(transaction=True)
def test_a_door_opens_no_savepoint_for_the_service_it_calls():
    @transaction.atomic
    def service(*, body):
        outbox.put("tests.one", body)

    with CaptureQueriesContext(connection) as seen:
        call(service, body={})
    assert [q["sql"].split()[0] for q in seen.captured_queries] == ["BEGIN", "INSERT", "COMMIT"]
