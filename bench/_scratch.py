"""Databases that a measurement makes for itself."""

import contextlib
import os
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit


@contextlib.contextmanager
def scratch(name: str, *, template: str | None = None) -> Iterator[str]:
    """URL of an empty database (or a copy of `template`) beside the owner's, dropped at the end; one of that name goes first."""
    import psycopg

    home = os.environ.get("GATEHOUSE_OWNER_DATABASE_URL") or os.environ["DATABASE_URL"]

    def drop(connection: psycopg.Connection) -> None:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')  # type: ignore[arg-type]

    with psycopg.connect(home, autocommit=True) as connection:
        drop(connection)
        connection.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))  # type: ignore[arg-type]
    try:
        yield urlunsplit(urlsplit(home)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(home, autocommit=True) as connection:
            drop(connection)
