"""What every door that takes a password again does: one durable call, and a wrong one written down after it rolled back."""

from typing import Any

from django.views.decorators.debug import sensitive_variables

from apps.accounts import services
from apps.accounts.models import User
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import CredentialsRefused


@sensitive_variables("password", "current")
def set_password(*, actor: Actor, user_id: Any, password: str, current: str = "") -> User:
    """services.set_password in its own durable transaction; never call it inside one."""
    try:
        return call(services.set_password, actor=actor, user_id=user_id, password=password, current=current)
    except CredentialsRefused:
        email = User.objects.values_list("email", flat=True).get(id=user_id)
        call(services.record_failure, email=email, ip=actor.ip, user_agent=actor.user_agent, purpose="password change")
        raise
