"""The page of one use case."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.accounts.web.access import page
from apps.audit import catalogue
from apps.core.actor import Role
from apps.dashboard import selectors_usecase


@require_GET
@page
def detail(request: HttpRequest, slug: str) -> HttpResponse:
    """One use case: where it stands, whether it helps, what comes next, and everything behind that."""
    actor = request.actor  # type: ignore[attr-defined]
    story = selectors_usecase.story(actor, slug)
    context = {
        "story": story,
        "usecase": story.usecase,
        "requirements": getattr(story.usecase, "requirements", None),
        "trail": [(event, catalogue.meaning(event.action)) for event in story.trail],
        "sees_trail": actor.sees_everything or actor.has_role(Role.APPROVER, Role.ML_ENGINEER),
        "may_deploy": story.offers and (actor.is_admin or actor.has_role(Role.ML_ENGINEER)),
        "sees_models": actor.sees_everything or actor.has_role(Role.APPROVER, Role.ML_ENGINEER),
    }
    return render(request, "dashboard/usecase.html", context)
