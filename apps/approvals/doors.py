"""What every door that takes a signature does: one durable call, and a failed password written down after it rolled back."""

from typing import Any

from django.views.decorators.debug import sensitive_variables

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.approvals import services
from apps.approvals.models import Gate
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import CredentialsRefused


@sensitive_variables("password", "code", "given")
def sign(*, actor: Actor, gate_id: Any, **given: Any) -> Gate:
    """services.sign_gate in its own durable transaction; never call it inside one. A wrong password is counted and audited."""
    try:
        return call(services.sign_gate, actor=actor, gate_id=gate_id, **given)
    except CredentialsRefused:
        email = User.objects.values_list("email", flat=True).get(id=str(actor.user_id))
        call(accounts.record_failure, email=email, ip=actor.ip, user_agent=actor.user_agent, purpose=f"signature of gate {gate_id}")
        raise
