"""Pages of what waits to be put in order: findings, and models that nobody answers for."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from apps.accounts.selectors import user_by_email
from apps.accounts.web.access import page
from apps.core.actor import Actor, Role
from apps.core.doors import call
from apps.core.errors import DomainError, Invalid
from apps.core.fields import Field, filled
from apps.dashboard import selectors_findings as reads
from apps.dashboard.web.models_shared import actor_of, editable, model_of
from apps.registry import selectors, services
from apps.registry.selectors import makers, scans

OWNER = (Field("owner", "Owner", "email", "Address of an active ML engineer, who answers for the model.", required=True, wide=True),)
LISTED = 100


@require_GET
@page
def findings(request: HttpRequest) -> HttpResponse:
    """What is not as it was frozen or decided: open findings with what they hold, closed ones below."""
    actor = actor_of(request)
    context = {"open": reads.open_findings(actor), "closed": reads.closed_findings(actor), "cut": reads.SHOWN, "contact": scans.contact()}
    return render(request, "registry/findings.html", context)


def ungoverned(request: HttpRequest) -> HttpResponse:
    """Models that no use case uses, those without an owner first; part of the page of models."""
    actor = actor_of(request)
    query = request.GET.get("q", "").strip()
    rows = list(selectors.models(actor, search=query, governed=False)[:LISTED])
    rows.sort(key=lambda m: m.owner_id is not None)
    mine = _own_address(request, actor)
    logged = makers.suggested_owners([m.id for m in rows if m.owner_id is None])
    context = {
        "rows": [(model, _may_give(actor, model.owner_id), logged.get(model.id, mine)) for model in rows], "query": query, "cut": LISTED,
        "nobodys": sum(model.owner_id is None for model in rows), "contact": scans.contact(),
    }  # fmt: skip
    return render(request, "registry/ungoverned.html", context)


def _may_give(actor: Actor, owner_id: object) -> bool:
    """Whether the list offers to name an owner: what is nobody's or one's own. The service decides."""
    return actor.is_admin or (actor.has_role(Role.ML_ENGINEER) and (owner_id is None or str(owner_id) == actor.user_id))


def _own_address(request: HttpRequest, actor: Actor) -> str:
    return str(request.user.email) if actor.has_role(Role.ML_ENGINEER) else ""  # type: ignore[union-attr]


def _suggested(request: HttpRequest, actor: Actor, model_id: UUID) -> str:
    """The person who logged it, else whoever looks."""
    return makers.suggested_owners([model_id]).get(model_id) or _own_address(request, actor)


@require_http_methods(["GET", "POST"])
@page
def owner(request: HttpRequest, name: str) -> HttpResponse:
    """Who answers for a model; a POST names somebody else."""
    actor = actor_of(request)
    model = model_of(request, name)
    refusal = None
    if request.method == "POST":
        try:
            person = user_by_email(request.POST.get("owner", "").strip())
            if person is None:
                raise Invalid("owner: there is no account with this address.", errors={"owner": ["There is no account with this address."]})
            call(services.assign_owner, actor=actor, name=model.name, owner=person)
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, f"{person} answers for {model.name}.")
            return redirect("registry:model", name=model.name)
    values = request.POST if refusal else {"owner": "" if model.owner else _suggested(request, actor, model.id)}
    context = {
        "model": model, "fields": filled(OWNER, values, refusal.errors if refusal else None), "refusal": refusal,
        "editable": editable(actor, model),
    }  # fmt: skip
    return render(request, "registry/owner.html", context, status=refusal.status if refusal else 200)
