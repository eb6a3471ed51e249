"""Makes the demo's people with passwords and tokens; refuses outside the demo."""

import json
import secrets
import sys
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.accounts import services
from apps.accounts.models import User
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.doors import durable


class Command(BaseCommand):
    """Reads a JSON list of {name, email, role, function} from standard input; prints it with password and token."""

    help = "Demo only: make sample people. Existing ones get a new password and token."

    def handle(self, *args: Any, **options: Any) -> None:
        """One transaction for all of them."""
        if not settings.DEMO:
            raise CommandError("Sample accounts exist in the demo only. Use create_account for real people.")
        self.stdout.write(json.dumps(self._make(json.load(sys.stdin))))

    @durable
    def _make(self, people: list[dict[str, str]]) -> list[dict[str, str]]:
        actor = Actor.system("demo")
        made = []
        for person in people:
            password = secrets.token_urlsafe(12)
            user = User.objects.filter(email__iexact=person["email"]).first()
            if user is None:
                user = services.create_user(actor=actor, email=person["email"], full_name=person["name"], password=password)
            else:
                user.set_password(password)
                user.save(update_fields=["password"])
            services.assign_role(actor=actor, user=user, role=person["role"], function=person.get("function", ""))
            _, token = services.issue_token(
                actor=actor, user=user, name="demo", scopes=["read", "write", "mlflow"], expires_at=now() + timedelta(days=30)
            )
            made.append({**person, "password": password, "token": token})
        return made
