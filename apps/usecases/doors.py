"""What REST and page share: the signature of a lower risk tier in one durable call."""

from typing import Any

from django.views.decorators.debug import sensitive_variables

from apps.accounts import doors as accounts
from apps.core.actor import Actor
from apps.usecases import services
from apps.usecases.models import TierException


@sensitive_variables("given")
def sign_tier(*, actor: Actor, exception_id: Any, **given: Any) -> TierException:
    """services.sign_tier in its own durable transaction; never call it inside one. A wrong password is counted and audited."""
    found: TierException = accounts.counted(actor, f"risk tier {exception_id}", services.sign_tier, exception_id=exception_id, **given)
    return found
