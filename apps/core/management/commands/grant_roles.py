"""Gives the database roles exactly what each process needs, from what the apps declare."""

import importlib
import importlib.util
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand
from django.db import connection, transaction
from psycopg import sql

APP, SEAL = "gatehouse_app", "gatehouse_seal"


def declared() -> dict[str, dict[str, list[str]]]:
    """Table -> role -> privileges, gathered from each app's `grants.py`."""
    gathered: dict[str, dict[str, list[str]]] = {}
    for config in apps.get_app_configs():
        name = f"{config.name}.grants"
        if config.name.startswith("apps.") and importlib.util.find_spec(name):
            gathered |= importlib.import_module(name).GRANTS
    return gathered


class Command(BaseCommand):
    """Run after `migrate`, as the owner; safe to repeat."""

    help = "Grant the application's and the sealer's database roles what they need, and take away the rest."

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke everything, then grant table by table."""
        special = declared()
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT rolname FROM pg_roles WHERE rolname IN (%s, %s)", [APP, SEAL])
            roles = {row[0] for row in cursor.fetchall()}
            if missing := {APP, SEAL} - roles:
                raise SystemExit(f"PostgreSQL roles are missing: {', '.join(sorted(missing))}. ./gatehouse makes them; see docs/how-to/production.md.")
            tables = connection.introspection.table_names(cursor)
            for role in (APP, SEAL):
                who = sql.Identifier(role)
                cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(who).as_string(connection.connection))
                cursor.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(who).as_string(connection.connection))
            app = sql.Identifier(APP).as_string(connection.connection)
            cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {app}")
            for table in tables:
                rights = special.get(table, {APP: ["SELECT", "INSERT", "UPDATE", "DELETE"]})
                if table == "django_migrations":
                    rights = {APP: ["SELECT"]}
                for role, privileges in rights.items():
                    if privileges:
                        statement = sql.SQL("GRANT {} ON {} TO {}").format(
                            sql.SQL(", ").join(sql.SQL(p) for p in privileges), sql.Identifier(table), sql.Identifier(role)
                        )
                        cursor.execute(statement.as_string(connection.connection))
        self.stdout.write(f"granted on {len(tables)} tables")
