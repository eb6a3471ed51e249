"""Publish the policies that ship with the portal."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.approvals import services
from apps.core.actor import Actor
from apps.core.doors import durable
from apps.core.errors import DomainError

SHIPPED = Path(__file__).resolve().parents[2] / "policies"


class Command(BaseCommand):
    """Run after `migrate`; safe to repeat: a version that is published already stays as it is, and a later text becomes the next one.

    What a policy owner has published for a gate is never displaced by what ships.
    """

    help = "Publish the gate policies in apps/approvals/policies (or --dir)."

    def add_arguments(self, parser: Any) -> None:
        """Where to read."""
        parser.add_argument("--dir", type=Path, default=SHIPPED, help="folder of YAML files")

    def handle(self, *args: Any, **options: Any) -> None:
        """One file is one policy version."""
        files = sorted(options["dir"].glob("*.yaml"))
        if not files:
            raise CommandError(f"There are no *.yaml files in {options['dir']}.")
        for file in files:
            try:
                text = file.read_text()
                _, said = durable(services.ship_policy)(actor=Actor.system("load_policies"), text=text)
            except DomainError as error:
                raise CommandError(f"{file.name}: {error.detail}") from error
            self.stdout.write(said)
