"""People for tests that run on a database of their own."""

from typing import Any


def person(*roles: str, email: str = "") -> Any:
    """A user with roles, committed."""
    from django.db import transaction

    from apps.accounts import services
    from apps.core.actor import Actor

    system = Actor.system("tests")
    with transaction.atomic():
        user = services.create_user(
            actor=system,
            email=email or f"{'.'.join(roles) or 'nobody'}@example.org",
            full_name=f"Person {' '.join(roles)}",
            password="correct horse battery",
        )
        for role in roles:
            noun, _, function = role.partition(":")
            services.assign_role(actor=system, user=user, role=noun, function=function)
    return user


def client(user: Any, scopes: tuple[str, ...] = ("read", "write")) -> Any:
    """A DRF client with the user's token."""
    from django.db import transaction
    from rest_framework.test import APIClient

    from apps.accounts import services
    from apps.accounts.models import User
    from apps.accounts.selectors import actor_from_user

    with transaction.atomic():
        actor = actor_from_user(User.objects.get(id=user.id))
        _, secret = services.issue_token(actor=actor, user=user, name="tests", scopes=list(scopes))
    made = APIClient()
    made.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return made
