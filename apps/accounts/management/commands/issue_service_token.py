"""Issues a token for a process of the house, such as the gateway."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.accounts import services
from apps.accounts.models import User
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.doors import durable


class Command(BaseCommand):
    """Prints the token alone, so that a script can read it; earlier tokens of that name are revoked."""

    help = "Issue a token for a process: issue_service_token --name gateway --scope routing"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--name", required=True)
        parser.add_argument("--scope", action="append", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the service account if needed, revoke old tokens, issue one for a year."""
        self.stdout.write(self._issue(options["name"], options["scope"]))

    @durable
    def _issue(self, name: str, scopes: list[str]) -> str:
        actor = Actor.system("command line")
        email = f"{name}@service.invalid"
        # A service account has no usable password: it can never sign in.
        user, _ = User.objects.get_or_create(email=email, defaults={"full_name": f"{name} (service)", "password": "!"})
        for old in user.tokens.filter(name=name, revoked_at=None):
            services.revoke_token(actor=actor, token_id=old.id)
        return services.issue_token(actor=actor, user=user, name=name, scopes=scopes, expires_at=now() + timedelta(days=365))[1]
