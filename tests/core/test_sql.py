"""Prepared statements: the same answers as Django's own way, and nothing lost or half done when PostgreSQL goes away."""

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.core import sql
from apps.core.clock import now
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


def _put(topic: str) -> None:
    outbox.put(topic, {"name": topic})


@pytest.mark.django_db(transaction=True)
def test_what_is_changed_at_once_is_one_statement_and_its_own_transaction():
    before = Message.objects.count()
    with sql.at_once():
        _put("a.b")
        _put("c.d")
        assert Message.objects.count() == before
    assert Message.objects.count() == before + 2 and connection.get_autocommit() and not connection.in_atomic_block
    with pytest.raises(RuntimeError, match="transaction"):
        _put("e.f")


@pytest.mark.django_db(transaction=True)
def test_what_raises_at_once_leaves_nothing():
    before = Message.objects.count()
    with pytest.raises(ValueError, match="no"), sql.at_once():
        _put("a.b")
        raise ValueError("no")
    with pytest.raises(IntegrityError), sql.at_once():
        _put("a.b")
        sql.insert(RegisteredModel(name="twice"))
        sql.insert(RegisteredModel(name="twice"))
    assert Message.objects.count() == before and not RegisteredModel.objects.filter(name="twice").exists()
    with sql.at_once():
        _put("a.b")
    assert Message.objects.count() == before + 1


@pytest.mark.django_db(transaction=True)
def test_a_change_at_once_reads_what_another_found():
    RegisteredModel.objects.bulk_create(RegisteredModel(name=f"found-{n}") for n in range(3))
    renamed = "UPDATE registry_registeredmodel SET description = $1 WHERE name LIKE $2 RETURNING name, 7 AS version"
    moment = now()

    def change(described: str) -> None:
        with sql.at_once():
            _put(described)
            outbox.put_each(f"{described}.each", (renamed, [described, "found-%"]), due_at=moment)

    change("at.once")
    with transaction.atomic():
        change("in.transaction")
    with CaptureQueriesContext(connection):
        change("counted")
    for described in ("at.once", "in.transaction", "counted"):
        made = Message.objects.filter(topic=f"{described}.each")
        assert sorted(m.body["name"] for m in made) == ["found-0", "found-1", "found-2"] and {m.body["version"] for m in made} == {7}
        assert {(m.due_at, m.tries, m.sent_at) for m in made} == {(moment, 0, None)}
    assert set(RegisteredModel.objects.filter(name__startswith="found-").values_list("description", flat=True)) == {"counted"}


@pytest.mark.django_db
def test_inside_a_transaction_it_is_part_of_that():
    with pytest.raises(ValueError, match="no"), transaction.atomic():
        with sql.at_once():
            _put("inside.it")
        assert Message.objects.filter(topic="inside.it").count() == 1
        raise ValueError("no")
    assert not Message.objects.filter(topic="inside.it").exists()


@pytest.mark.django_db(transaction=True)
def test_settled_soon_holds_for_one_statement_alone():
    waits = "SELECT current_setting('synchronous_commit')"
    usual = sql.ask(waits)
    with sql.settled_soon(), sql.at_once():
        _put("soon.settled")
    assert Message.objects.filter(topic="soon.settled").count() == 1 and sql.ask(waits) == usual == [("on",)]


@pytest.mark.django_db(transaction=True)
def test_one_inside_another_is_part_of_its_statement_settled_soon_or_not():
    with sql.settled_soon(), sql.at_once():
        _put("outer.one")
        with sql.at_once():
            _put("inner.one")
        assert not Message.objects.filter(topic__in=["outer.one", "inner.one"]).exists(), "the outer one sends both"
    assert Message.objects.filter(topic__in=["outer.one", "inner.one"]).count() == 2
    with pytest.raises(ValueError, match="no"), sql.at_once():
        with sql.at_once():
            _put("inner.two")
        raise ValueError("no")
    assert not Message.objects.filter(topic="inner.two").exists()


@pytest.mark.django_db(transaction=True)
def test_a_transaction_begun_inside_cannot_pass_for_the_one_that_is_gathered():
    row = RegisteredModel(name="begun-inside")
    with pytest.raises(RuntimeError, match="no transaction is begun"), sql.at_once():
        assert sql.is_open()
        with transaction.atomic():
            assert not sql.is_open()
            sql.insert(row)
    with pytest.raises(RuntimeError, match="transaction"), sql.at_once(), transaction.atomic():
        RegisteredModel.objects.create(name="begun-inside")
        _put("begun.inside")
    assert not RegisteredModel.objects.filter(name="begun-inside").exists() and not Message.objects.filter(topic="begun.inside").exists()
    assert not sql.is_open()
