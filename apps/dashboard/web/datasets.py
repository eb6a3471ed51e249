"""Pages of datasets: the list, one dataset, and the lineage of a version."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from apps.accounts.web.access import page
from apps.core.actor import Role
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.core.fields import Field, filled, typed, whole
from apps.dashboard import selectors_lineage as lineages
from apps.dashboard.web.models_shared import actor_of, version_of
from apps.registry import services
from apps.registry.rules import datasets as rules
from apps.registry.rules.openlineage import schema_columns
from apps.registry.selectors import datasets as reads
from apps.registry.selectors import scans

FIELDS = (
    Field("description", "What it holds", "textarea", rows=2),
    Field("permissions", "What may be done with it, and by whom", "textarea", rows=2),
    Field("retention", "How long it is kept", "textarea", rows=2),
    Field("licence", "Licence"),
    Field("sensitivity", "Sensitivity", "select", choices=(("", "not said"), *((s, s) for s in rules.SENSITIVITIES))),
    Field("owner_email", "Owner", "email", hint="Email address of a person with an account."),
)


@require_GET
@page
def datasets(request: HttpRequest) -> HttpResponse:
    """Datasets by name."""
    query = request.GET.get("q", "").strip()
    rows = reads.listed(actor_of(request), search=query)
    unsaid = [r for r in rows if r.governed is None or rules.missing(r.governed)]
    return render(request, "registry/datasets.html", {"rows": rows, "query": query, "unsaid": unsaid, "contact": scans.contact()})


@require_http_methods(["GET", "POST"])
@page
def dataset(request: HttpRequest, dataset_id: Any) -> HttpResponse:
    """One dataset: who saw it, what holds for it; a POST saves that."""
    actor = actor_of(request)
    found = reads.dataset(actor, dataset_id)
    governed, refusal = reads.governed(found.name), None
    if request.method == "POST":
        try:
            given: dict[str, Any] = typed(FIELDS, request.POST)
            call(services.govern_dataset, actor=actor, dataset_id=found.id, revision=whole(request.POST, "revision"), **given)
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, "It is saved, for all versions of the dataset.")
            return redirect("datasets:dataset", dataset_id=found.id)
    siblings = reads.siblings(actor, found)
    uses = reads.uses(actor, siblings)
    stored = {f.name: getattr(governed, f.name, "") for f in FIELDS} | {"owner_email": governed.owner.email if governed.owner else ""}
    context = {
        "dataset": found, "siblings": siblings, "uses": uses, "production": [u for u in uses if u.in_production], "governed": governed,
        "missing": rules.missing(governed), "columns": schema_columns(found.schema), "graph": lineages.of_datasets(actor, siblings, found),
        "fields": filled(FIELDS, request.POST if refusal else stored, refusal.errors if refusal else None), "refusal": refusal,
        "editable": actor.is_admin or actor.has_role(Role.ML_ENGINEER), "contact": scans.contact(),
    }  # fmt: skip
    return render(request, "registry/dataset.html", context, status=refusal.status if refusal else 200)


@require_GET
@page
def lineage(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """Where a version comes from and where it went."""
    version = version_of(request, name, number)
    graph = lineages.of_version(actor_of(request), version)
    counts = {kind: len(nodes) for kind, nodes in graph.steps}
    return render(request, "registry/lineage.html", {"version": version, "graph": graph, "counts": counts, "contact": scans.contact()})
