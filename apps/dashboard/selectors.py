"""What pages composed across apps read."""

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from apps.accounts.selectors import actor_from_user
from apps.core.actor import Actor, Role

# (name, url name, roles that find it in their rail), in the order of the rail.
PLACES: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("Inbox", "approvals:inbox", frozenset({Role.APPROVER, Role.STAKEHOLDER, Role.ML_ENGINEER})),
    ("Portfolio", "portfolio", frozenset(Role)),
    ("Models", "registry:models", frozenset({Role.ML_ENGINEER, Role.APPROVER, Role.AUDITOR, Role.ADMIN})),
    ("Findings", "findings", frozenset({Role.ML_ENGINEER, Role.AUDITOR, Role.ADMIN})),
    ("Datasets", "datasets:datasets", frozenset({Role.ADMIN})),
    ("Endpoints", "deployments:endpoints", frozenset({Role.ML_ENGINEER, Role.APPROVER, Role.AUDITOR, Role.ADMIN})),
    ("Hosts", "deployments:hosts", frozenset({Role.ML_ENGINEER, Role.ADMIN})),
    ("Rates", "rates", frozenset({Role.ML_ENGINEER, Role.ADMIN})),
    ("Policies", "approvals:policies", frozenset({Role.POLICY_OWNER})),
    ("People", "accounts:people", frozenset({Role.ADMIN})),
    ("Webhooks", "notices:webhooks", frozenset({Role.ADMIN})),
    ("Trail", "audit:explorer", frozenset({Role.AUDITOR, Role.ADMIN, Role.APPROVER, Role.ML_ENGINEER})),
    ("Notices", "notices:mine", frozenset(Role)),
)
# Pages below a place whose addresses begin otherwise.
ALSO: dict[str, tuple[str, ...]] = {"portfolio": ("/usecases/", "/kpis/"), "approvals:inbox": ("/gates/",), "deployments:endpoints": ("/load-tests/",), "audit:explorer": ("/asof/",)}
# Whose question comes first when a person has several roles.
HOMES: tuple[tuple[str, str], ...] = (
    (Role.APPROVER, "approvals:inbox"),
    (Role.ML_ENGINEER, "deployments:endpoints"),
    (Role.AUDITOR, "audit:explorer"),
    (Role.STAKEHOLDER, "portfolio"),
    (Role.POLICY_OWNER, "approvals:policies"),
    (Role.ADMIN, "portfolio"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the rail."""

    name: str
    url: str
    current: bool
    count: int = 0


def _waiting(actor: Actor) -> int:
    from apps.approvals.selectors import count_waiting_on

    return count_waiting_on(actor)


def _findings(actor: Actor) -> int:
    from apps.dashboard.selectors_findings import count_open

    return count_open(actor)


def _unread(actor: Actor) -> int:
    from apps.notices.selectors import unread

    return unread(actor.user_id) if actor.user_id else 0


# What stands beside a place's name, and places that are only there while something waits in them.
COUNTS: dict[str, Callable[[Actor], int]] = {"approvals:inbox": _waiting, "findings": _findings, "notices:mine": _unread}
ONLY_WHEN_OPEN = frozenset({"findings"})


def home_of(actor: Actor) -> str:
    """The url name of the actor's home page."""
    return next((name for role, name in HOMES if role in actor.roles), "accounts:account")


def places(request: HttpRequest) -> list[Place]:
    """The rail for the signed-in person; counts say what waits on them."""
    actor = getattr(request, "actor", None) or actor_from_user(request.user, request=request)  # type: ignore[arg-type]
    found = []
    for name, url_name, roles in PLACES:
        if not roles & actor.roles:
            continue
        try:
            url = reverse(url_name)
        except NoReverseMatch:
            continue
        current = request.path.startswith((url, *ALSO.get(url_name, ())))
        count = COUNTS[url_name](actor) if url_name in COUNTS else 0
        if url_name in ONLY_WHEN_OPEN and not count and not current:
            continue
        found.append(Place(name, url, current, count))
    return found
