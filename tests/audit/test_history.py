"""What happens to a governed row is kept, whoever writes it; and no governed row is changed by nobody."""

import io
import json
import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.utils import ProgrammingError

from apps.accounts.models import ApiToken, User
from apps.audit import history
from apps.audit.models import Event, RowChange
from apps.audit.services import _is_secret, record
from apps.core.actor import Actor
from apps.core.clock import fixed, now
from apps.core.errors import NotAllowed
from apps.deployments.models import Host
from apps.usecases.models import UseCase

SYSTEM = Actor.system("tests")


def _user(**fields: Any) -> User:
    return User(**({"email": f"{uuid.uuid4().hex}@example.org", "full_name": "Ida", "password": "argon2$hidden"} | fields))


def _rows(subject: Any) -> list[RowChange]:
    return list(RowChange.objects.filter(table_name=subject._meta.db_table, row_id=str(subject.pk)).order_by("id"))


# --- every table -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_every_table_is_watched_or_excused_by_name():
    states = history.states()
    assert {name: wrong for name, wrong in states.items() if wrong} == {}
    assert set(history.NOT_GOVERNED) <= set(states), "an excuse for a table that there is not"
    assert all(len(reason) > 20 for reason in history.NOT_GOVERNED.values())
    assert len(history.governed()) + len(history.NOT_GOVERNED) == len(states) and len(history.governed()) > 50


@pytest.mark.django_db
def test_no_column_that_may_hold_a_secret_is_kept_in_the_clear():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.table_name, c.column_name, encode(t.tgargs, 'escape') FROM information_schema.columns c"
            " JOIN pg_trigger t ON t.tgrelid = format('public.%I', c.table_name)::regclass AND t.tgname = 'audit_row'"
            " WHERE c.table_schema = 'public'"
        )
        columns = [(table, column, arguments.split("\\000")) for table, column, arguments in cursor.fetchall()]
    assert len(columns) > 300
    open_ = [
        f"{table}.{column}"
        for table, column, (_, secret, unkept, *_) in columns
        if (_is_secret(column) or column.endswith(("_hash", "_box", "envelope")) or column == "recovery")
        and column not in secret.strip("{}").split(",") + unkept.strip("{}").split(",")
    ]  # fmt: skip
    assert open_ == []


@pytest.mark.django_db
def test_a_column_added_later_is_not_overlooked():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE deployments_host ADD COLUMN colour text")
    assert "changes of colour are not watched" in history.states()["deployments_host"]
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE paint (id int PRIMARY KEY)")
        cursor.execute("ALTER TABLE usecases_usecase DISABLE TRIGGER audit_row_update")
        cursor.execute("SELECT audit_govern('outbox_message')")
        cursor.execute("ALTER TABLE audit_row DISABLE TRIGGER audit_row_append_only")
        cursor.execute("ALTER TABLE audit_row ENABLE TRIGGER audit_row_has_actor")
    states = history.states()
    assert "neither excused nor watched" in states["paint"] and "audit_row_update missing" in states["usecases_usecase"]
    assert "excused by name and has triggers" in states["outbox_message"]
    assert states["audit_row"] == "is not guarded: audit_row_append_only, audit_row_has_actor missing or not enabled always"
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("check_history", "--json", stdout=out)
    assert len(json.loads(out.getvalue())["tables"]) == 5


# --- what is kept -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_each_way_to_write_is_kept_with_what_changed():
    made = _user()
    User.objects.bulk_create([made])
    User.objects.filter(id=made.id).update(full_name="Ida B.")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_user SET full_name = 'Ida C.', email = email WHERE id = %s", [made.id])
        cursor.execute("UPDATE accounts_user SET full_name = full_name WHERE id = %s", [made.id])
    User.objects.filter(id=made.id).delete()
    made_, updated, raw, deleted = _rows(made)
    assert (made_.operation, made_.before, made_.after["full_name"]) == ("INSERT", None, "Ida")
    assert (updated.operation, updated.before, updated.after) == ("UPDATE", {"full_name": "Ida"}, {"full_name": "Ida B."})
    assert (raw.before, raw.after) == ({"full_name": "Ida B."}, {"full_name": "Ida C."})
    assert (deleted.operation, deleted.before["full_name"], deleted.after) == ("DELETE", "Ida C.", None)
    assert {r.actor for r in (made_, updated, raw, deleted)} == {"system:tests"} and made_.db_role == connection.settings_dict["USER"]


@pytest.mark.django_db
def test_a_command_is_kept_with_who_asked():
    call_command("issue_service_token", "--name", "probe", "--scope", "routing", stdout=io.StringIO())
    token = ApiToken.objects.get(name="probe")
    kept = history.search(SYSTEM, table="accounts_apitoken", row_id=str(token.id)).get()
    event = Event.objects.get(id=kept.event_id)
    assert event.actor_label == kept.event_actor == "command line"


@pytest.mark.django_db
def test_secrets_are_never_kept_and_big_values_only_by_their_digest():
    made = _user()
    made.save()
    User.objects.filter(id=made.id).update(password="argon2$another")
    added, changed = _rows(made)
    assert added.after["password"] == changed.before["password"] == changed.after["password"] == "(left out: a secret)"
    assert "argon2" not in json.dumps([added.after, changed.before, changed.after])
    usecase = UseCase.objects.create(
        slug="big", name="Big", problem="p" * 9000, risk_tier="minimal", owner=made, created_by=made, stage_since=now()
    )
    assert set(_rows(usecase)[0].after["problem"]) == {"sha256", "characters"} and _rows(usecase)[0].after["name"] == "Big"


@pytest.mark.django_db
def test_what_moves_every_few_seconds_leaves_no_trace_and_needs_nobody():
    host = Host.objects.create(name="h1", public_key="k", key_id="0" * 16)
    for field in ("last_seen_at", "heartbeat_at"):
        Host.objects.filter(id=host.id).update(**{field: now()})
    host.cpu_count = 3
    host.save()
    assert [r.operation for r in _rows(host)] == ["INSERT"] and "cpu_count" not in _rows(host)[0].after
    Host.objects.filter(id=host.id).update(state="retired", last_seen_at=now())
    assert _rows(host)[-1].after == {"state": "retired"}


def test_truncate_is_kept_also_where_replication_skips_triggers(own_database, superuser_url):
    _user().save()
    with psycopg.connect(superuser_url) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("SET LOCAL gatehouse.actor = 'person:dba'")
        conn.execute("UPDATE accounts_user SET full_name = 'changed'")
        conn.execute("TRUNCATE accounts_user CASCADE")
    updated, emptied = RowChange.objects.filter(table_name="accounts_user").order_by("-id")[:2][::-1]
    assert (updated.operation, updated.after, updated.actor) == ("UPDATE", {"full_name": "changed"}, "person:dba")
    assert (emptied.operation, emptied.before, emptied.row_id, emptied.db_role) == ("TRUNCATE", {"rows": 1}, "", "postgres")


# --- nobody -------------------------------------------------------------------------------------------


def test_a_change_by_nobody_is_refused_at_commit_and_says_what_to_do(nobody):
    made = _user()
    with pytest.raises(ProgrammingError, match=r"INSERT of accounts_user .* nobody is named") as refused, transaction.atomic():
        made.save()
    hint = refused.value.__cause__.diag.message_hint  # type: ignore[union-attr]
    assert "SET LOCAL gatehouse.actor" in hint and "./gatehouse manage" in hint
    with pytest.raises(ProgrammingError, match="nobody is named"):
        User.objects.bulk_create([made])
    assert not User.objects.filter(id=made.id).exists() and _rows(made) == []


def test_raw_sql_is_refused_without_a_name_and_taken_with_one(nobody, environment_url):
    with psycopg.connect(environment_url("GATEHOUSE_WEB_DATABASE_URL"), autocommit=True) as conn:
        insert = "INSERT INTO auth_group (name) VALUES ('raw')"
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nobody is named"):
            conn.execute(insert)
        with conn.transaction():
            conn.execute("SET LOCAL gatehouse.actor = 'person:ida'")
            conn.execute(insert)
        # It was for that transaction alone.
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nobody is named"):
            conn.execute("DELETE FROM auth_group")
    kept = RowChange.objects.filter(table_name="auth_group").latest("id")
    assert (kept.operation, kept.actor, kept.db_role) == ("INSERT", "person:ida", "gatehouse_web")


def test_an_event_in_the_transaction_names_who_did_it_before_or_after_the_change(nobody):
    anna = Actor(kind="user", id="user:7", label="Anna Winter")
    first, second = _user(), _user()
    with transaction.atomic():
        first.save()
        event = record("accounts.user.created", actor=anna, obj_type="user", obj_id=str(first.id))
        second.save()
    for made in (first, second):
        kept = history.search(SYSTEM, row_id=str(made.id)).get()
        assert (kept.actor, kept.event_id, kept.event_actor_id, kept.event_actor) == ("", event.id, "user:7", "Anna Winter")


def test_an_old_event_with_the_same_transaction_id_tells_of_nothing(nobody, actor):
    # As in a database restored from a dump, where transaction ids begin anew.
    made = _user()
    with pytest.raises(ProgrammingError, match="nobody is named"), transaction.atomic():
        with fixed(now() - timedelta(days=2)):
            record("accounts.user.created", actor=actor, obj_type="user", obj_id=str(made.id))
        made.save()
    with transaction.atomic():
        with fixed(now() - timedelta(days=2)):
            record("accounts.user.created", actor=actor, obj_type="user", obj_id=str(made.id))
        with nobody.cursor() as cursor:
            cursor.execute("SET LOCAL gatehouse.actor = 'person:ida'")
        made.save()
    kept = history.search(SYSTEM, row_id=str(made.id), untold=True).get()
    assert (kept.event_id, kept.event_actor, kept.who) == (None, None, "person:ida")
    assert not history.search(SYSTEM, row_id=str(made.id), untold=False).exists()


def test_nobody_writes_or_rewrites_history(own_database, environment_url):
    made = _user()
    made.save()
    for statement in ("UPDATE audit_row SET actor = 'x'", "DELETE FROM audit_row", "TRUNCATE audit_row"):
        with pytest.raises(DatabaseError, match="append-only"), own_database.cursor() as cursor:
            cursor.execute(statement)
    with pytest.raises(TypeError):
        _rows(made)[0].delete()
    for role in ("WEB", "CONTROL"):
        with psycopg.connect(environment_url(f"GATEHOUSE_{role}_DATABASE_URL"), autocommit=True) as conn:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(
                    "INSERT INTO audit_row (table_name, pk, operation, actor, db_role) VALUES ('accounts_user', 'x', 'DELETE', 'user:7', 'me')"
                )
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("SELECT audit_ungovern('accounts_user')")


# --- changes that no event tells of -------------------------------------------------------------------


def _reconciled(actor: Actor) -> list[history.Found]:
    """All of them: tests before this one may have left more than a batch."""
    found: list[history.Found] = []
    while new := history.reconcile(actor=actor):
        found += new
    return found


def test_a_change_without_an_event_is_found_and_recorded_once(own_database, actor):
    made = _user()
    with transaction.atomic():
        made.save()
        record("accounts.user.created", actor=actor, obj_type="user", obj_id=str(made.id))
    start = now()
    assert [f for f in history.untold(since=start) if f.row_id == str(made.id)] == []
    User.objects.filter(id=made.id).update(full_name="By hand")
    (found,) = history.untold(since=start)
    assert (found.table, found.row_id, found.operation, found.actor) == ("accounts_user", str(made.id), "UPDATE", "system:tests")
    assert [f.id for f in _reconciled(actor) if f.row_id == str(made.id)] == [found.id]
    assert _reconciled(actor) == []
    told = Event.objects.get(action="audit.row.untold", object_id=str(made.id))
    assert told.facts["after"]["row_change"] == found.id and told.object_type == "accounts_user"
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("check_history", stdout=out)
    assert f"no event tells of: UPDATE of accounts_user {made.id}" in out.getvalue()


def test_however_many_and_however_old_they_are_recorded_oldest_first(own_database, actor, monkeypatch):
    from celery_worker.control import tasks

    _reconciled(actor)
    keys = [uuid.uuid4().hex for _ in range(5)]
    with own_database.cursor() as cursor:
        for key in keys:
            cursor.execute(
                "INSERT INTO audit_row (at, table_name, pk, operation, actor, db_role)"
                " VALUES (now() - interval '3 days', 'accounts_user', %s, 'DELETE', 'person:dba', 'x')",
                [key],
            )
    monkeypatch.setattr(history, "BATCH", 2)
    tasks.check_history.run()
    told = Event.objects.filter(action="audit.row.untold", object_id__in=keys).order_by("id")
    assert [event.object_id for event in told] == keys
    assert history.reconcile(actor=actor) == []


def test_a_change_that_commits_after_a_later_one_is_not_overlooked(own_database, actor, environment_url):
    _reconciled(actor)
    with psycopg.connect(environment_url("GATEHOUSE_WEB_DATABASE_URL")) as conn:
        conn.execute("SET LOCAL gatehouse.actor = 'person:ida'")
        conn.execute("INSERT INTO auth_group (name) VALUES (%s)", [uuid.uuid4().hex])
        later = _user()
        later.save()
        for expected in ([str(later.id)], [], []):
            assert [f.row_id for f in history.reconcile(actor=actor)] == expected
        conn.commit()
    (found,) = history.reconcile(actor=actor)
    assert (found.table, found.operation, found.actor) == ("auth_group", "INSERT", "person:ida") and found.id < _rows(later)[0].id


def test_control_may_say_how_far_it_has_looked_and_not_begin_anew(own_database, environment_url):
    with psycopg.connect(environment_url("GATEHOUSE_CONTROL_DATABASE_URL"), autocommit=True) as conn:
        conn.execute("SELECT looked_id FROM audit_row_looked FOR UPDATE")
        assert conn.execute("UPDATE audit_row_looked SET looked_id = looked_id").rowcount == 1
        for statement in ("DELETE FROM audit_row_looked", "INSERT INTO audit_row_looked DEFAULT VALUES"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)


def test_each_round_goes_on_where_transactions_had_ended(own_database, actor):
    def looked(change: str = "looked_id = looked_id") -> tuple[int, int, int]:
        with own_database.cursor() as cursor:
            cursor.execute(f"UPDATE audit_row_looked SET {change} RETURNING looked_id, next_id, next_xid::text::bigint")
            return cursor.fetchone()  # type: ignore[no-any-return]

    made = [_user(), _user()]
    for one in made:
        one.save()
    first, newest = (_rows(one)[0].id for one in made)
    _reconciled(actor)
    looked(f"looked_id = {first - 1}, next_id = {first}, next_xid = '3'")
    assert history.reconcile(actor=actor) == []
    assert looked()[:2] == (first, newest)
    # Restored from a cluster whose transactions had higher numbers.
    looked(f"next_id = {newest}, next_xid = '{2**62}'")
    assert history.reconcile(actor=actor) == []
    assert looked()[:2] == (first, newest) and looked()[2] < 2**62


@pytest.mark.django_db
def test_the_list_is_for_auditors(make_user, api, actor_of):
    auditor, engineer = make_user("auditor"), make_user("ml_engineer")
    answer = api(auditor).get(f"/api/v1/audit/rows/?table=accounts_user&object={engineer.id}&told=true")
    assert answer.status_code == 200, answer.content
    (row,) = answer.json()["results"]
    assert row["operation"] == "INSERT" and row["after"]["full_name"] == engineer.full_name and row["actor"] == "tests"
    assert row["after"]["password"] == "(left out: a secret)" and Event.objects.filter(id=row["event_id"]).exists()
    assert api(auditor).get(f"/api/v1/audit/rows/?object={engineer.id}&told=false").json()["results"] == []
    assert api(engineer).get("/api/v1/audit/rows/").status_code == 403
    with pytest.raises(NotAllowed, match="auditors"):
        history.visible_to(actor_of(engineer))


def test_each_process_that_changes_something_is_named(monkeypatch):
    from portal import env

    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@h:5432/d")
    for process, named in (
        ("control", "system:control"),
        ("relay", "system:control"),
        ("manage", "system:manage"),
        ("web", "system:web"),
        ("seal", None),
    ):
        monkeypatch.setenv("GATEHOUSE_PROCESS", process)
        assert env.database("DATABASE_URL")["OPTIONS"].get("options") == (f"-c gatehouse.actor={named}" if named else None)  # type: ignore[attr-defined]
