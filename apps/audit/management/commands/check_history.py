"""Looks whether every governed table is watched and every change of one is told by an event."""

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.audit import history
from apps.core.clock import now


class Command(BaseCommand):
    """Prints what was found, as sentences or as JSON; ends with 1 when anything was."""

    help = "Check the row history: every governed table watched, every change told by an event of its transaction."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--days", type=int, default=30, help="how far to look back (30)")
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look and say."""
        tables = [f"{name} {wrong}" for name, wrong in sorted(history.states().items()) if wrong]
        changes = [str(found) for found in history.untold(since=now() - timedelta(days=options["days"]))]
        if options["json"]:
            self.stdout.write(json.dumps({"tables": tables, "untold": changes, "watched": len(history.governed())}))
        else:
            for line in [*tables, *(f"no event tells of: {change}" for change in changes)]:
                self.stdout.write(line)
            if not tables and not changes:
                self.stdout.write(f"{len(history.governed())} tables are watched; an event tells of every change")
        if tables or changes:
            raise SystemExit(1)
