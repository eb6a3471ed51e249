"""Makes an account with roles from the command line: the first administrator, or sample people."""

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts import services
from apps.core.actor import Actor
from apps.core.doors import durable
from apps.core.errors import DomainError


class Command(BaseCommand):
    """The password comes from the terminal or from standard input, never from an argument."""

    help = "Make an account with one or more roles, such as admin, ml_engineer or approver:risk."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--email", required=True)
        parser.add_argument("--name", required=True)
        parser.add_argument("--role", action="append", default=[], help="role, or role:function for approvers; repeatable")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask for the password and make the account."""
        password = getpass.getpass("Password (at least 12 characters): ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        try:
            self._make(options["email"], options["name"], password, options["role"])
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{options['email']} can sign in.")

    @durable
    def _make(self, email: str, name: str, password: str, roles: list[str]) -> None:
        actor = Actor.system("command line")
        user = services.create_user(actor=actor, email=email, full_name=name, password=password)
        for role in roles:
            noun, _, function = role.partition(":")
            services.assign_role(actor=actor, user=user, role=noun, function=function)
