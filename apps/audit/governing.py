"""The migration operation by which an app has the history of its tables kept. Its SQL functions are made by audit's migration."""

from collections.abc import Sequence
from typing import Any

from django.db import migrations


class govern(migrations.RunSQL):
    """Migration operation: keep the history of a table. `secret` columns never show a value, `unkept` ones are as if not there.

    Repeat it with the same words after a migration that adds a column to a table with `unkept` ones; the suite says so.
    """

    def __init__(self, table: str, secret: Sequence[str] = (), unkept: Sequence[str] = ()) -> None:
        super().__init__(
            [("SELECT audit_govern(%s, %s::text[], %s::text[])", [table, list(secret), list(unkept)])],
            [("SELECT audit_ungovern(%s)", [table])],
        )
        self._table, self._secret, self._unkept = table, list(secret), list(unkept)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """As it is written."""
        return "govern", [self._table], {"secret": self._secret, "unkept": self._unkept}
