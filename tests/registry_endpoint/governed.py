"""A use case that uses a model, so that only its people see the model."""

import uuid

from apps.accounts import services as accounts
from apps.core.actor import Actor
from apps.usecases import services as usecases

SYSTEM = Actor.system("tests")


def govern(*names, person=None):
    """Make the models governed by a use case of their own, which `person` (or nobody who matters) owns. Returns the use case."""
    owner = person
    if owner is None:
        owner = accounts.create_user(
            actor=SYSTEM, email=f"{uuid.uuid4().hex}@example.org", full_name="Owner", password="correct horse battery staple"
        )
        accounts.assign_role(actor=SYSTEM, user=owner, role="stakeholder", function="")
    made = usecases.create_usecase(
        actor=SYSTEM, owner=owner, name=f"Use case {uuid.uuid4().hex[:8]}", problem="Calls reach the wrong members.", risk_tier="high",
        decision_supported="Whom the desk calls.", output_users="Nurses", sponsor=owner,
    )  # fmt: skip
    for name in names:
        usecases.link_model(actor=SYSTEM, usecase_id=made.id, model_name=name)
    return made
