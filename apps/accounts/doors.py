"""What every door that takes a password again does: one durable call, and a wrong one written down after it rolled back."""

from collections.abc import Callable
from typing import Any

from django.views.decorators.debug import sensitive_variables

from apps.accounts import services
from apps.accounts.models import User
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import CredentialsRefused


@sensitive_variables("password", "code")
def confirm_second_factor(*, actor: Actor, password: str, code: str) -> list[str]:
    """services.confirm_second_factor in its own durable transaction; a refused try is written down."""
    return counted(actor, "second factor", services.confirm_second_factor, password=password, code=code)


@sensitive_variables("password", "code")
def remove_second_factor(*, actor: Actor, user_id: Any, password: str = "", code: str = "", reason: str = "") -> None:
    """services.remove_second_factor in its own durable transaction; a refused try is written down."""
    counted(actor, "second factor", services.remove_second_factor, user_id=user_id, password=password, code=code, reason=reason)


@sensitive_variables("given")
def counted(actor: Actor, purpose: str, service: Callable[..., Any], **given: Any) -> Any:
    """A service that takes a password, in its own durable transaction; a refused try is counted and written down for `purpose`."""
    try:
        return call(service, actor=actor, **given)
    except CredentialsRefused:
        email = User.objects.values_list("email", flat=True).get(id=str(actor.user_id))
        call(services.record_failure, email=email, ip=actor.ip, user_agent=actor.user_agent, purpose=purpose)
        raise


@sensitive_variables("password", "current", "code")
def set_password(*, actor: Actor, user_id: Any, password: str, current: str = "", code: str = "") -> User:
    """services.set_password in its own durable transaction; never call it inside one."""
    try:
        return call(services.set_password, actor=actor, user_id=user_id, password=password, current=current, code=code)
    except CredentialsRefused:
        email = User.objects.values_list("email", flat=True).get(id=user_id)
        call(services.record_failure, email=email, ip=actor.ip, user_agent=actor.user_agent, purpose="password change")
        raise
