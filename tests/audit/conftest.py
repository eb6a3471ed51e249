"""A database of its own for every test that seals: sealing is about what is committed."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_NUMBER = itertools.count()
TABLES = ("audit_event", "audit_leaf", "audit_subtree", "audit_checkpoint")


def _drop(connection: Any, name: str) -> None:
    """Drop the copy; a session of the superuser may take a moment to end, and the owner cannot end it."""
    from django.db import DatabaseError

    for rest in range(50, -1, -1):
        try:
            with connection._nodb_cursor() as cursor:
                cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            return
        except DatabaseError:
            if not rest:
                raise
            time.sleep(0.1)


def settle(sealer: Any) -> int:
    """Seal everything that is there; returns how much it was.

    One round may not be enough: any transaction that is open anywhere on the server holds the sealer back, also one of a test
    that runs beside this one.
    """
    from apps.audit.models import Event, Leaf

    total = 0
    for _ in range(6000):
        total += sealer.seal()
        if Leaf.objects.count() == Event.objects.count():
            return total
        time.sleep(0.01)
    raise AssertionError("something on this server has kept a transaction open for a minute")


def url_of(connection: Any, base: str | None = None) -> str:
    """The connection's database as a URL, under the user of `base` or its own."""
    settings = connection.settings_dict
    if base:
        return urlunsplit(urlsplit(base)._replace(path=f"/{settings['NAME']}"))
    return (
        f"postgresql://{quote(settings['USER'])}:{quote(settings['PASSWORD'])}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
    )


class _Copy:
    """The copy of the test database that tests share until one of them breaks it; what it is copied from is made once."""

    def __init__(self) -> None:
        self.name = self.ready = ""

    def prepare(self, connection: Any) -> None:
        """Point Django at a clean copy, making one where there is none."""
        if self.name:
            connection.settings_dict["NAME"] = self.name
            self._empty(connection)
            return
        template = connection.settings_dict["NAME"]
        if not self.ready:
            self.ready = self._make_ready(connection, template)
        self.name = self._copied(connection, self.ready, f"{template}_own_{os.getpid()}_{next(_NUMBER)}")

    def _make_ready(self, connection: Any, template: str) -> str:
        """The test database with the roles' grants and without what other tests have committed."""
        from django.core.management import call_command

        with connection._nodb_cursor() as cursor:
            # Threads of an earlier test (a live server's) may still keep a session, and a template must have none.
            cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND usename = current_user", [template])
        name = self._copied(connection, template, f"{template}_ready_{os.getpid()}")
        call_command("grant_roles", verbosity=0)
        self._empty(connection)
        connection.close()
        return name

    def _copied(self, connection: Any, template: str, name: str) -> str:
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        connection.settings_dict["NAME"] = name
        return name

    def _empty(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            # A test before this one, here or in the template, has committed events and people.
            cursor.execute("TRUNCATE accounts_user, audit_download, deployments_host CASCADE")
            for table in TABLES:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only; TRUNCATE {table}")
                cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only")

    def drop(self, connection: Any) -> None:
        """Throw it away; the next test gets a new one."""
        if self.name:
            _drop(connection, self.name)
            self.name = ""

    def drop_all(self, connection: Any) -> None:
        """At the end: the one that copies are made from, too."""
        self.drop(connection)
        if self.ready:
            _drop(connection, self.ready)
            self.ready = ""


COPY = _Copy()


@pytest.fixture
def unflushed(monkeypatch: Any) -> None:
    """Nothing is written to the test database itself, so it need not be emptied afterwards."""
    monkeypatch.setattr("django.test.testcases.TransactionTestCase._fixture_teardown", lambda self: None)


@pytest.fixture(scope="session")
def copies(django_db_setup: Any, django_db_blocker: Any) -> Iterator[None]:
    """Drops the copy before the test database itself goes."""
    yield
    from django.db import connection

    with django_db_blocker.unblock():
        COPY.drop_all(connection)


@pytest.fixture
def own_database(copies: None, unflushed: None, transactional_db: Any) -> Iterator[Any]:
    """Django's connection, on a copy of the test database with the roles' grants; threads meet the same copy."""
    from django.db import connection, connections

    template = connection.settings_dict["NAME"]
    connections.close_all()
    try:
        COPY.prepare(connection)
        yield connection
    finally:
        connections.close_all()
        connection.settings_dict["NAME"] = template


@pytest.fixture
def nobody(own_database: Any) -> Any:
    """The connection without the name that tests carry."""
    with own_database.cursor() as cursor:
        cursor.execute("SET gatehouse.actor = ''")
    return own_database


@pytest.fixture
def superuser_url(own_database: Any) -> Iterator[str]:
    """The copy, as the database's superuser: the attacker who may do anything."""
    base = os.environ.get("GATEHOUSE_SUPERUSER_DATABASE_URL")
    if not base:
        pytest.skip("GATEHOUSE_SUPERUSER_DATABASE_URL is not set; ./gatehouse test sets it")
    yield url_of(own_database, base)
    # Whatever a superuser did to it, no other test should meet.
    own_database.close()
    COPY.drop(own_database)


@pytest.fixture
def attack(superuser_url: str) -> Callable[..., None]:
    """attack(sql, ...) -> run as superuser with the append-only triggers out of the way."""

    def run(*statements: str) -> None:
        with psycopg.connect(superuser_url) as conn:
            for table in TABLES:
                conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
            for statement in statements:
                conn.execute(statement)  # type: ignore[arg-type]
            for table in TABLES:
                conn.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only")  # type: ignore[arg-type]
            conn.execute("ALTER TABLE audit_event ENABLE ALWAYS TRIGGER audit_event_true")

    return run


@pytest.fixture
def actor() -> Any:
    from apps.core.actor import Actor

    return Actor.system("tests")


@pytest.fixture
def happen(own_database: Any, actor: Any) -> Callable[..., list[Any]]:
    """happen(3) -> three committed events, each in a transaction of its own."""
    from django.db import transaction

    from apps.audit.services import record

    numbers = itertools.count()

    def make(count: int = 1, *, who: Any = None, **fields: Any) -> list[Any]:
        out = []
        for _ in range(count):
            with transaction.atomic():
                values = {"obj_type": "trail", "obj_id": "trail", "after": {"number": next(numbers)}} | fields
                out.append(record("audit.trail.exported", actor=who or actor, **values))
        return out

    return make


@pytest.fixture
def witness_folder(tmp_path: Path) -> Path:
    return tmp_path / "witness"


@pytest.fixture
def seal_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def sealer(own_database: Any, seal_key: Any, witness_folder: Path, settings: Any, tmp_path: Path) -> Any:
    """A started sealer over the copy, with a witness in a folder."""
    import json

    from apps.audit.gateways.witness import FileWitness
    from apps.audit.seal import Sealer
    from apps.audit.sealing import public_key_document

    published = tmp_path / "seal-public.json"
    published.write_text(json.dumps(public_key_document([seal_key.public_key()])))
    settings.SEAL_PUBLIC_KEY = str(published)
    made = Sealer(private_key=seal_key, origin="tests/audit", witnesses=[FileWitness(witness_folder)])
    made.start()
    return made


@pytest.fixture
def verify(own_database: Any, witness_folder: Path, capsys: Any) -> Callable[..., tuple[int, str]]:
    """verify() -> (exit code, output) of the offline verifier over the copy and the witness."""
    from verifier.__main__ import main

    def run(*arguments: str, checkpoint: Path | None = None, wait: str = "0") -> tuple[int, str]:
        where = str(checkpoint or witness_folder / "latest")
        code = main(["--database-url", url_of(own_database), "--checkpoint", where, "--wait", wait, *arguments])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.fixture
def environment_url(own_database: Any) -> Callable[[str], str]:
    """environment_url("GATEHOUSE_WEB_DATABASE_URL") -> the copy, as that role."""

    def find(name: str) -> str:
        if name not in os.environ:
            pytest.skip(f"{name} is not set; ./gatehouse test sets it")
        return url_of(own_database, os.environ[name])

    return find
