"""Pages of a model card: its revisions, what changed between two, and its exports."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.accounts.web.access import page
from apps.core.errors import DomainError
from apps.dashboard.web.models_shared import actor_of, editable, version_of
from apps.registry import rules
from apps.registry.api.cards import exported
from apps.registry.rules.compare import words_diff
from apps.registry.selectors import cards as reads


@require_GET
@page
def card(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The card (or one revision of it) as it reads, its history, and what changed between two revisions."""
    version = version_of(request, name, number)
    history = list(reads.revisions(version))
    refusal, wanted = None, request.GET.get("revision", "")
    try:
        document = reads.document(version, reads.revision(version, wanted).revision if wanted else None)
        changes = _changes(version, request)
    except DomainError as error:
        refusal, document, changes = error, reads.document(version), []
    context = {
        "version": version, "document": document, "parts": [(title, document.texts[f], f in rules.CARD_NEEDED, f) for f, title in rules.CARD_TITLES.items()],
        "state": rules.completeness(document.texts), "history": history, "changes": changes, "refusal": refusal, "is_old": bool(wanted) and not refusal and history[0].revision != document.revision,
        "editable": editable(actor_of(request), version.model), "from": request.GET.get("from", ""), "to": request.GET.get("to", ""),
    }  # fmt: skip
    return render(request, "registry/card.html", context, status=refusal.status if refusal else 200)


def _changes(version: object, request: HttpRequest) -> list[tuple[str, list[tuple[str, str]]]]:
    if not (request.GET.get("from") and request.GET.get("to")):
        return []
    before, after = (reads.revision(version, request.GET[end]).fields for end in ("from", "to"))  # type: ignore[arg-type]
    pieces = ((title, words_diff(before.get(f, ""), after.get(f, ""))) for f, title in rules.CARD_TITLES.items())
    return [(title, found) for title, found in pieces if any(kind != "same" for kind, _ in found)]


@require_GET
@page
def export(request: HttpRequest, name: str, number: int, kind: str) -> HttpResponse:
    """The card as a file that opens without a network."""
    version = version_of(request, name, number)
    wanted = request.GET.get("revision", "")
    return exported(version, "html" if kind == "html" else "markdown", reads.revision(version, wanted).revision if wanted else None)
