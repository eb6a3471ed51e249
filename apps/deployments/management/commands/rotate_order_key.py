"""Rotates the key that signs work orders; `./gatehouse keys rotate` calls it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.deployments import services
from apps.deployments.gateways.keys import NoOrderKey


class Command(BaseCommand):
    """Run again after it broke off, it goes on where it was."""

    help = "Rotate the order key: rotate_order_key --overlap 24"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--overlap", type=float, default=24.0, help="hours in which agents still accept the old key (24)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate and say which keys."""
        actor = Actor.system("command line")
        try:
            made = call(services.rotate_order_key, actor=actor, overlap_hours=options["overlap"])
            call(services.finish_key_rotation, actor=actor)
        except DomainError as error:
            raise CommandError(error.detail) from error
        except (NoOrderKey, OSError) as error:
            raise CommandError(f"{error} Run this where control runs, as its user.") from error
        self.stdout.write(f"Orders are signed with key {made.new} now.")
        self.stdout.write(f"Key {made.old} is accepted until {made.accepted_until:%Y-%m-%d %H:%M} UTC, and gone here.")
