"""REST door of card revisions and exports, and of known failure modes."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.api.idempotency import idempotent
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import Filter, View, listed, operation
from apps.registry import selectors, services
from apps.registry.api.shared import version_of, whole
from apps.registry.models import CardRevision, FailureMode
from apps.registry.rules import CARD_TITLES, failures
from apps.registry.rules.cards import as_html, as_markdown
from apps.registry.rules.compare import words_diff
from apps.registry.selectors import cards as reads


class RevisionSerializer(serializers.ModelSerializer):
    """One kept save of a card."""

    class Meta:
        model = CardRevision
        fields = ["revision", "fields", "figures", "digest", "saved_by", "saved_at"]


class RevisionsView(View):
    """Kept revisions of a card."""

    @operation(responses=listed(RevisionSerializer))
    def get(self, request: Request, name: str, number: int) -> Response:
        """List the kept revisions of a model card, newest first."""
        return whole(RevisionSerializer(reads.revisions(version_of(request, name, number)), many=True).data)


class RevisionDiffView(View):
    """What changed between two revisions of a card."""

    filters = {
        "from": Filter("Number of the earlier revision.", int, needed=True, names=True),
        "to": Filter("Number of the later revision.", int, needed=True, names=True),
    }

    @operation(responses={200: dict})
    def get(self, request: Request, name: str, number: int) -> Response:
        """Read what changed between two revisions of a model card.

        Field -> pieces `[kind, text]` in reading order, kind `same`, `del` or `ins`; fields that agree are left out.
        """
        version = version_of(request, name, number)
        before, after = (reads.revision(version, request.query_params[end]).fields for end in ("from", "to"))
        pieces = {f: words_diff(before.get(f, ""), after.get(f, "")) for f in CARD_TITLES}
        return Response({f: p for f, p in pieces.items() if any(kind != "same" for kind, _ in p)})


def exported(version: Any, kind: str, revision: int | None) -> HttpResponse:
    """The card as a file."""
    card = reads.document(version, revision)
    text, content_type, suffix = (as_html(card), "text/html", "html") if kind == "html" else (as_markdown(card), "text/markdown", "md")
    answer = HttpResponse(text, content_type=f"{content_type}; charset=utf-8")
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in card.model)[:100]
    answer.headers["Content-Disposition"] = f'attachment; filename="{safe}-{card.version}-card-{card.revision}.{suffix}"'
    return answer


class CardExportView(View):
    """The card as a file that opens without a network."""

    filters = {"revision": Filter("Number of a kept revision; the newest without it.", int, names=True)}
    kind = "html"

    @operation(responses={200: OpenApiTypes.STR})
    def get(self, request: Request, name: str, number: int) -> HttpResponse:
        """Download a model card as HTML that prints well and needs no network."""
        revision = request.query_params.get("revision")
        return exported(version_of(request, name, number), self.kind, int(revision) if revision else None)


class CardMarkdownView(CardExportView):
    """The same as Markdown."""

    kind = "markdown"

    @operation(responses={200: OpenApiTypes.STR})
    def get(self, request: Request, name: str, number: int) -> HttpResponse:
        """Download a model card as Markdown with Hugging Face's metadata at its head."""
        return super().get(request, name, number)


class FailureModeSerializer(serializers.ModelSerializer):
    """A known failure mode or edge case."""

    model = serializers.CharField(source="model.name")
    owner = serializers.EmailField(source="owner.email", default=None)

    class Meta:
        model = FailureMode
        fields = ["id", "model", *failures.FIELDS, "owner", "revision", "updated_by", "updated_at", "created_at"]


class FailureModeChangeSerializer(serializers.Serializer):
    """Fields of an entry to change; those left out stay. `revision`: the one you read."""

    kind = serializers.ChoiceField(failures.KINDS, required=False)
    title = serializers.CharField(required=False, max_length=200)
    effect = serializers.CharField(required=False, max_length=4000, help_text="what happens")
    condition = serializers.CharField(required=False, max_length=4000, help_text="when it happens")
    severity = serializers.ChoiceField(failures.SEVERITIES, required=False)
    handling = serializers.CharField(required=False, allow_blank=True, max_length=4000, help_text="what handles it")
    owner_email = serializers.EmailField(required=False, allow_blank=True)
    state = serializers.ChoiceField(failures.STATES, required=False)
    since_version = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    until_version = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    revision = serializers.IntegerField(required=False, min_value=1)


class FailureModeFormSerializer(FailureModeChangeSerializer):
    """A new entry."""

    title = serializers.CharField(max_length=200)
    effect = serializers.CharField(max_length=4000, help_text="what happens")
    condition = serializers.CharField(max_length=4000, help_text="when it happens")
    severity = serializers.ChoiceField(failures.SEVERITIES)
    revision = None  # type: ignore[assignment]


class FailureModesView(View):
    """Known failure modes and edge cases of a model."""

    filters = {"version": Filter("Only those that hold for this version.", int, least=1)}

    @operation(responses=listed(FailureModeSerializer))
    def get(self, request: Request, name: str) -> Response:
        """List the known failure modes of a registered model, open and grave ones first."""
        model = selectors.model(actor_of(request), name)
        version = request.query_params.get("version")
        rows = reads.in_order(reads.failure_modes(model, version=int(version) if version else None))
        return whole(FailureModeSerializer(rows, many=True).data)

    @operation(request=FailureModeFormSerializer, responses={201: FailureModeSerializer})
    @idempotent
    def post(self, request: Request, name: str) -> Response:
        """Write down a known failure mode of a registered model."""
        model = selectors.model(actor_of(request), name)
        row = services.record_failure_mode(actor=actor_of(request), model=model.name, **given(FailureModeFormSerializer, request))
        return Response(FailureModeSerializer(row).data, status=status.HTTP_201_CREATED)


class FailureModeView(View):
    """One entry of the register."""

    @operation(responses=FailureModeSerializer)
    def get(self, request: Request, failure_id: Any) -> Response:
        """Read one known failure mode."""
        return Response(FailureModeSerializer(reads.failure_mode(actor_of(request), failure_id)).data)

    @operation(request=FailureModeChangeSerializer, responses=FailureModeSerializer)
    @durable
    def patch(self, request: Request, failure_id: Any) -> Response:
        """Change the given fields of a known failure mode."""
        fields = given(FailureModeChangeSerializer, request)
        row = services.change_failure_mode(actor=actor_of(request), failure_id=failure_id, **fields)
        return Response(FailureModeSerializer(row).data)
