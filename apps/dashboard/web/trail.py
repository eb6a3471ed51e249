"""The trail for people: search it, read one event, see that it is sealed, take an export away."""

import uuid
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.web.access import page
from apps.approvals import selectors as approvals
from apps.audit import catalogue, history, selectors
from apps.audit.api.download import export_response
from apps.core.actor import Role
from apps.core.errors import DomainError, NotAllowed, NotFound
from apps.dashboard.diffs import changes
from apps.usecases import selectors as usecases

PAGE = 50
FILTERS = ("search", "action", "actor", "object", "usecase", "since", "until")


@require_GET
@page
def explorer(request: HttpRequest) -> HttpResponse:
    """Search, newest first; pages follow the last event seen, so they do not shift while events arrive."""
    actor = request.actor  # type: ignore[attr-defined]
    given = {name: request.GET.get(name, "").strip() for name in FILTERS}
    refusal, rows = None, []
    try:
        found = selectors.search(
            actor, text=given["search"], action=given["action"], who=given["actor"], obj=given["object"],
            usecase=usecase_id(actor, given["usecase"]), since=given["since"], until=given["until"],
        ).with_leaf_index()  # fmt: skip
        if before := _event_id(request.GET.get("before", "")):
            found = found.filter(id__lt=before)
        rows = list(found[: PAGE + 1])
    except DomainError as error:
        refusal = error
    more = len(rows) > PAGE
    rows = rows[:PAGE]
    query = {k: v for k, v in given.items() if v}
    context = {
        "events": [_line(e) for e in rows],
        "given": given,
        "filtered": bool(query),
        "refusal": refusal,
        "next": "?" + urlencode({**query, "before": str(rows[-1].id)}) if more else "",
        "first": "?" + urlencode(query) if request.GET.get("before") else "",
        "query": urlencode(query),
        "seal": selectors.seal_state(),
        # Two columns, once: there may be a thousand.
        "usecases": list(usecases.usecases(actor).prefetch_related(None).order_by("name").values("slug", "name")),
        "actions": sorted(catalogue.actions().items()),
        "may_export": actor.has_role(Role.AUDITOR, Role.ADMIN),
        "kept": _rows_of(actor, given["object"]),
    }
    return render(request, "dashboard/trail.html", context, status=refusal.status if refusal else 200)


def _rows_of(actor: Any, obj: str) -> list[dict[str, Any]]:
    """What happened to the row of the object that was searched for, for those who may see all; empty for others and for a mere type."""
    key = obj.rpartition(":")[2]
    if not key or not actor.sees_everything:
        return []
    return [
        {
            "change": row,
            "who": row.who,
            "changes": changes({"before": row.before, "after": row.after}),
            "created": not row.before,
        }
        for row in history.of_object(actor, key)
    ]


def usecase_id(actor: Any, slug: str) -> str:
    """The id of a use case named by slug or id, empty for none; NotFound when the actor may not see it."""
    return str(usecases.usecase(actor, slug).id) if slug else ""


def _event_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _line(event: Any) -> dict[str, Any]:
    facts = event.facts
    return {
        "event": event,
        "says": catalogue.actions().get(event.action, event.action),
        "reason": facts.get("reason") or "",
        "sealed": event.leaf_index is not None,
    }


@require_GET
@page
def event(request: HttpRequest, event_id: str) -> HttpResponse:
    """One event: what changed, who did it, and the proof that it is in the sealed trail."""
    actor = request.actor  # type: ignore[attr-defined]
    found = selectors.event(actor, event_id)
    facts = found.facts
    proof, refusal = None, None
    try:
        proof = selectors.inclusion_proof(actor, found.id)
    except DomainError as error:
        refusal = error
    context = {
        "event": found,
        "facts": facts,
        "says": catalogue.actions().get(found.action, found.action),
        "changes": changes(facts),
        "decision": _decision(actor, found.decision_id),
        "created": not facts.get("before"),
        "proof": proof,
        "refusal": refusal,
    }
    return render(request, "dashboard/trail_event.html", context)


def _decision(actor: Any, decision_id: str | None) -> Any:
    """The decision an event names, to go to its signatures and evidence; None when there is none in sight."""
    try:
        return approvals.decision(actor, decision_id) if decision_id else None
    except NotFound:
        return None


@require_POST
@page
def export(request: HttpRequest) -> HttpResponseBase:
    """The export bundle of a use case or of the whole trail, with proofs; taking it is an event too."""
    actor = request.actor  # type: ignore[attr-defined]
    if not actor.has_role(Role.AUDITOR, Role.ADMIN):
        raise NotAllowed("Exports are for auditors. Ask one, or an administrator for the role.")
    usecase = usecase_id(actor, request.POST.get("usecase", ""))
    return export_response(actor, usecase_id=usecase or None)
