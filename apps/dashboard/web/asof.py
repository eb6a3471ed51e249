"""The page that answers: what was live then?"""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.accounts.web.access import page
from apps.core.clock import now
from apps.core.errors import DomainError
from apps.dashboard import selectors_asof as reads
from apps.usecases import selectors as usecases

PAGE = 50


@require_GET
@page
def asof(request: HttpRequest) -> HttpResponse:
    """Pick a moment and perhaps a use case; each endpoint with who answered, under which decision, signed by whom."""
    actor = request.actor  # type: ignore[attr-defined]
    asked = {name: request.GET.get(name, "").strip() for name in ("at", "usecase")}
    # A minute picked in the form, seconds when it was typed or linked.
    context: dict[str, Any] = {"asked": asked, "at": None, "rows": [], "refusal": None, "next": "", "now": now()}
    try:
        at = context["at"] = reads.moment_asked(asked["at"])
        found = reads.endpoints(actor, at=at, usecase=asked["usecase"])
        if after := request.GET.get("after", ""):
            found = found.filter(id__lt=_id(after))
        rows = list(found[: PAGE + 1])
        if len(rows) > PAGE:
            context["next"] = "?" + urlencode({**asked, "at": reads.iso(at), "after": str(rows[PAGE - 1].id)})
        context["rows"] = reads.at_moment(rows[:PAGE], at)
        context["picked"] = f"{at:%Y-%m-%dT%H:%M:%S}"
    except DomainError as error:
        context["refusal"] = error
    context |= {
        "answering": sum(len(then.answering) for then in context["rows"]),
        "silent": sum(not then.answering for then in context["rows"]),
        "usecases": list(usecases.usecases(actor).prefetch_related(None).order_by("name").values("slug", "name")),
    }
    refusal = context["refusal"]
    return render(request, "dashboard/asof.html", context, status=refusal.status if refusal else 200)


def _id(text: str) -> str:
    return text if usecases.is_uuid(text) else "00000000-0000-0000-0000-000000000000"
