"""Databases and roles of a PostgreSQL server: one owner, one application group, one role per process.

    python -m gatehouse_cli.roles       makes them on the server of GATEHOUSE_SUPERUSER_DATABASE_URL, with the passwords in
                                        GATEHOUSE_{OWNER,WEB,CONTROL,SEAL,MLFLOW}_DATABASE_URL
"""

import os
import sys
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlsplit

import psycopg
from psycopg import sql

# role -> may it create databases (tests do, as the owner)
LOGIN_ROLES: dict[str, bool] = {
    "gatehouse_owner": True,
    "gatehouse_web": False,
    "gatehouse_control": False,
    "gatehouse_seal": False,
    "gatehouse_mlflow": False,
}
APP_GROUP = "gatehouse_app"
APP_MEMBERS = ("gatehouse_web", "gatehouse_control")
DATABASES: dict[str, str] = {"gatehouse": "gatehouse_owner", "mlflow": "gatehouse_mlflow"}
CONNECTS: dict[str, tuple[str, ...]] = {
    "gatehouse": ("gatehouse_web", "gatehouse_control", "gatehouse_seal"),
    "mlflow": (),
}


def database_url(role: str, password: str, host: str, port: int, database: str) -> str:
    """A postgresql:// URL with everything quoted."""
    return f"postgresql://{quote(role)}:{quote(password, safe='')}@{host}:{port}/{quote(database)}"


def ensure_roles(superuser_url: str, passwords: Mapping[str, str]) -> None:
    """Create what is missing and set the passwords; safe to run again. `superuser_url` may be any role that may create
    roles and databases. `passwords` holds one entry per login role."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        if APP_GROUP not in known:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(APP_GROUP)))
        for role, may_create in LOGIN_ROLES.items():
            if role not in known:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEROLE {} PASSWORD {}").format(
                    sql.Identifier(role),
                    sql.SQL("CREATEDB" if may_create else "NOCREATEDB"),
                    sql.Literal(passwords[role]),
                )
            )
            # Sessions speak UTC whatever the client's machine says.
            connection.execute(sql.SQL("ALTER ROLE {} SET timezone = 'UTC'").format(sql.Identifier(role)))
            # A session that forgets its transaction would hold up the seal, which waits for every open one.
            connection.execute(sql.SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = '5min'").format(sql.Identifier(role)))
        for member in APP_MEMBERS:
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(APP_GROUP), sql.Identifier(member)))
        existing = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name, owner in DATABASES.items():
            database, role_name = sql.Identifier(name), sql.Identifier(owner)
            if name not in existing:
                connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role_name))
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role_name))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
            for role in CONNECTS[name]:
                connection.execute(
                    sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(role))
                )


def passwords_from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Each role's password, from the URL that names the role. Exits with the name of a URL that is missing or names another."""
    found = {}
    for role in LOGIN_ROLES:
        variable = f"{role.upper()}_DATABASE_URL"
        url = urlsplit(environment.get(variable, ""))
        if unquote(url.username or "") != role or not url.password:
            sys.exit(f"{variable} must read postgresql://{role}:PASSWORD@HOST:PORT/DATABASE.")
        found[role] = unquote(url.password)
    return found


if __name__ == "__main__":
    superuser = os.environ.get("GATEHOUSE_SUPERUSER_DATABASE_URL") or sys.exit("GATEHOUSE_SUPERUSER_DATABASE_URL is not set.")
    ensure_roles(superuser, passwords_from_environment(os.environ))
    print("roles and databases are there")
