"""What REST and pages share: a signature in one durable call with a failed password written down, and a file to be saved."""

from typing import Any

from django.http import HttpResponse
from django.views.decorators.debug import sensitive_variables

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.approvals import services
from apps.approvals.models import Attachment, Gate, PolicyVersion, Waiver
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import CredentialsRefused


@sensitive_variables("given")
def _signed(function: Any, purpose: str, /, *, actor: Actor, **given: Any) -> Any:
    """Call a service that takes a password, in its own durable transaction; a wrong password is counted and audited."""
    try:
        return call(function, actor=actor, **given)
    except CredentialsRefused:
        email = User.objects.values_list("email", flat=True).get(id=str(actor.user_id))
        call(accounts.record_failure, email=email, ip=actor.ip, user_agent=actor.user_agent, purpose=purpose)
        raise


@sensitive_variables("given")
def publish(*, actor: Actor, **given: Any) -> tuple[PolicyVersion, bool]:
    """services.publish_policy in its own durable transaction; never call it inside one."""
    found: tuple[PolicyVersion, bool] = _signed(services.publish_policy, "publishing a policy", actor=actor, **given)
    return found


@sensitive_variables("password", "code", "given")
def sign(*, actor: Actor, gate_id: Any, **given: Any) -> Gate:
    """services.sign_gate in its own durable transaction; never call it inside one. A wrong password is counted and audited."""
    found: Gate = _signed(services.sign_gate, f"signature of gate {gate_id}", actor=actor, gate_id=gate_id, **given)
    return found


@sensitive_variables("given")
def sign_waiver(*, actor: Actor, waiver_id: Any, **given: Any) -> Waiver:
    """services.sign_waiver in its own durable transaction; never call it inside one."""
    found: Waiver = _signed(services.sign_waiver, f"waiver {waiver_id}", actor=actor, waiver_id=waiver_id, **given)
    return found


def file_response(row: Attachment) -> HttpResponse:
    """The file, to be saved and never shown inside a page."""
    response = HttpResponse(bytes(row.content), content_type=row.content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{row.name.encode("ascii", "replace").decode()}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "private, no-store"
    return response
