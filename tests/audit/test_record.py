"""An event exists exactly if its change does, and nobody changes it afterwards."""

import json
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import hypothesis
import hypothesis.strategies as st
import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.utils.safestring import mark_safe

from apps.audit import catalogue, services
from apps.audit.models import Event
from apps.audit.services import SecretInAudit, UndeclaredAction, record
from apps.core import clock
from apps.core.actor import Actor, Role
from apps.core.canonical import canonical_json
from tests.audit.conftest import settle, url_of

ACTION = "audit.trail.exported"
SYSTEM = Actor.system("tests")


@pytest.mark.django_db
def test_the_columns_say_what_the_text_says():
    actor = Actor(kind="token", id="token:1", label="Anna (token ci)", user_id="7", on_behalf_of="user:7", request_id="req-12345678")
    moment = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
    with clock.fixed(moment):
        made = record(
            ACTION, actor=actor, obj_type="usecase", obj_id="u1", obj_label="Früherkennung", usecase_id="u1", before={"tier": "low"},
            after={"tier": "high", "at": moment, "share": 0.1}, reason="asked for", decision_id="d1",
        )  # fmt: skip
    stored = Event.objects.get(id=made.id)
    assert stored.payload == made.payload
    for column in (
        "occurred_at", "action", "actor_kind", "actor_id", "actor_label", "on_behalf_of", "object_type", "object_id", "object_label",
        "usecase_id", "decision_id", "request_id",
    ):  # fmt: skip
        assert getattr(stored, column) == getattr(made, column), column
    assert stored.occurred_at == moment
    assert stored.facts["before"] == {"tier": "low"}
    assert stored.facts["after"] == {"tier": "high", "at": "2026-03-01T12:30:15.123456Z", "share": 0.1}
    assert stored.facts["reason"] == "asked for"


@pytest.mark.django_db
def test_the_text_is_canonical_and_one_insert():
    with CaptureInserts() as queries:
        made = record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x", after={"b": 1, "a": 2})
    assert len(queries) == 1
    assert made.payload == json.dumps(json.loads(made.payload), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class CaptureInserts(list[str]):
    def __enter__(self) -> "CaptureInserts":
        self._context = connection.execute_wrapper(self._note)
        self._context.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def _note(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.append(sql)
        return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
def test_it_needs_the_transaction_of_its_change():
    with pytest.raises(RuntimeError, match="transaction"):
        record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x")


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_change_leaves_no_event():
    before = Event.objects.count()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x")
        raise ZeroDivisionError
    assert Event.objects.count() == before


@pytest.mark.django_db
def test_events_of_one_process_sort_as_they_happened():
    made = [record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x").id for _ in range(200)]
    assert made == sorted(made) and len(set(made)) == 200
    assert {i.version for i in made} == {7} and {i.variant for i in made} == {uuid.RFC_4122}


@pytest.mark.django_db
def test_an_undeclared_action_is_refused():
    with pytest.raises(UndeclaredAction):
        record("audit.trail.painted", actor=SYSTEM, obj_type="trail", obj_id="x")


@pytest.mark.django_db
@pytest.mark.parametrize("actor", [Actor("user", "", "Anna"), Actor("user", "user:1", ""), Actor("ghost", "user:1", "Anna")])
def test_an_actor_without_kind_id_or_label_is_refused(actor):
    with pytest.raises(ValueError, match="actor"):
        record(ACTION, actor=actor, obj_type="trail", obj_id="x")


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["password", "new_password", "passwordHash", "token", "api-token", "client_secret", "api_key", "Cookie"])
def test_a_field_that_is_a_secret_is_refused_and_a_name_chosen_by_people_only_loses_its_value(key):
    with pytest.raises(SecretInAudit, match=key):
        record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x", after={key: "hunter2"})
    made = record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x", after={"metrics": [{key: "hunter2"}]})
    assert "hunter2" not in made.payload and made.facts["after"]["metrics"][0][key].startswith("(left out")


@pytest.mark.django_db
def test_what_only_sounds_like_a_secret_is_kept():
    harmless = {"password_changed": True, "token_prefix": "ab12", "tokens_per_second": 4, "token": None, "key": "value"}
    made = record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x", after=harmless)
    assert made.facts["after"] == harmless


@pytest.mark.django_db
def test_what_postgresql_cannot_store_is_replaced():
    made = record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x", obj_label="a\x00b\ud800", after={"k\x00": "\udfff"})
    stored = Event.objects.get(id=made.id)
    assert stored.object_label == "a\ufffdb\ufffd"
    assert stored.facts["after"] == {"k\ufffd": "\ufffd"}


@pytest.mark.django_db
@pytest.mark.parametrize("sql", ["UPDATE audit_event SET payload = '{}'", "DELETE FROM audit_event", "TRUNCATE audit_event"])
def test_the_owner_of_the_table_can_neither_change_nor_delete(sql):
    record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x")
    with pytest.raises(DatabaseError, match=r"append-only|audit_event"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.django_db
def test_django_does_not_write_events():
    made = record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x")
    with pytest.raises(TypeError):
        made.save()
    with pytest.raises(TypeError):
        made.delete()
    with pytest.raises(DatabaseError), transaction.atomic():
        Event.objects.all().delete()
    with pytest.raises(DatabaseError), transaction.atomic():
        Event.objects.update(payload="{}")


@pytest.mark.django_db
def test_an_event_under_another_id_than_its_own_is_refused():
    made = record(ACTION, actor=SYSTEM, obj_type="trail", obj_id="x")
    with pytest.raises(DatabaseError, match="own"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO audit_event (id, payload) VALUES (gen_random_uuid(), %s)", [made.payload])


@pytest.mark.parametrize("replica", [False, True])
@pytest.mark.parametrize("table", ["audit_event", "audit_leaf", "audit_subtree", "audit_checkpoint"])
def test_even_a_superuser_meets_the_triggers(superuser_url, happen, sealer, table, replica):
    happen(256)
    settle(sealer)
    column = {"audit_event": "payload", "audit_leaf": "leaf_index", "audit_subtree": "level", "audit_checkpoint": "note"}[table]
    verbs = [f"DELETE FROM {table}", f"TRUNCATE {table}", f"UPDATE {table} SET {column} = {column}"]
    with psycopg.connect(superuser_url, autocommit=True) as conn:
        if replica:
            conn.execute("SET session_replication_role = replica")
        for verb in verbs:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                conn.execute(verb)


def test_the_application_reads_and_inserts_and_nothing_else(own_database, happen, environment_url):
    (made,) = happen()
    with psycopg.connect(environment_url("GATEHOUSE_WEB_DATABASE_URL"), autocommit=True) as conn:
        assert conn.execute("SELECT count(*) FROM audit_event").fetchone() == (1,)
        for sql in (
            "UPDATE audit_event SET payload = payload", "DELETE FROM audit_event", "TRUNCATE audit_event",
            "ALTER TABLE audit_event DISABLE TRIGGER ALL", "INSERT INTO audit_leaf VALUES (0, gen_random_uuid(), '\\x00')",
            f"INSERT INTO audit_event (id, payload, xid) VALUES ('{made.id}', '{made.payload}', '3')",
            "UPDATE audit_checkpoint SET note = ''", "DELETE FROM audit_leaf",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(sql)


def test_the_sealer_cannot_write_events(own_database, happen, environment_url):
    (made,) = happen()
    with psycopg.connect(environment_url("GATEHOUSE_SEAL_DATABASE_URL"), autocommit=True) as conn:
        for sql in (f"INSERT INTO audit_event (id, payload) VALUES ('{made.id}', '{made.payload}')", "DELETE FROM audit_checkpoint"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(sql)


def test_the_owner_cannot_claim_another_transaction(own_database):
    with psycopg.connect(url_of(own_database)) as conn, pytest.raises(psycopg.errors.CheckViolation):
        conn.execute(
            "INSERT INTO audit_event (id, payload, xid) SELECT i, '{\"id\":\"' || i || '\"}', '3' FROM gen_random_uuid() i",
        )


def test_the_catalogue_explains_old_and_new_actions():
    assert catalogue.meaning(ACTION) == catalogue.actions()[ACTION]
    assert catalogue.meaning("gone.app.did") == "gone.app.did"


scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8) | st.floats(allow_nan=False, allow_infinity=False)
nested = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner), max_leaves=8)
facts = st.dictionaries(st.text(max_size=4), nested)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(facts)
def test_the_quick_encoder_writes_what_the_careful_one_writes(value):
    clean = services._Clean()
    document = clean(value, "after")
    assert clean.dump(document) == canonical_json(document)


def test_subclasses_and_other_types_take_the_careful_way():
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    for value in (Role.AUDITOR, mark_safe("<b>\x00"), Decimal("1.50"), uuid.UUID(int=7), {"b", "a"}, 0.1, moment, OrderedDict(b=1, a=(2,)), 2**60):
        clean = services._Clean()
        document = {"k": clean(value, "after")}
        assert not clean.plain
        assert clean.dump(document) == canonical_json({"k": value}).replace("\\u0000", "\ufffd")
