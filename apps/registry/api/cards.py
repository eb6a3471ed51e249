"""REST door of card revisions and exports, and of known failure modes."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.api.idempotency import idempotent
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.errors import Invalid
from apps.registry import selectors, services
from apps.registry.api.shared import StrictSerializer, version_of
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


class RevisionsView(APIView):
    """Kept revisions of a card."""

    @extend_schema(responses=RevisionSerializer(many=True))
    def get(self, request: Request, name: str, number: int) -> Response:
        """All of them, newest first."""
        return Response(RevisionSerializer(reads.revisions(version_of(request, name, number)), many=True).data)


class RevisionDiffView(APIView):
    """What changed between two revisions of a card."""

    @extend_schema(
        parameters=[OpenApiParameter("from", int, required=True), OpenApiParameter("to", int, required=True)], responses={200: dict}
    )
    def get(self, request: Request, name: str, number: int) -> Response:
        """Field -> pieces `[kind, text]` in reading order, kind `same`, `del` or `ins`; fields that agree are left out."""
        version = version_of(request, name, number)
        before, after = (reads.revision(version, request.query_params.get(end, "")).fields for end in ("from", "to"))
        pieces = {f: words_diff(before.get(f, ""), after.get(f, "")) for f in CARD_TITLES}
        return Response({f: p for f, p in pieces.items() if any(kind != "same" for kind, _ in p)})


def revision_number(text: str | None) -> int | None:
    """The revision an address asks for; None for the newest. Invalid when it is no number."""
    if not text:
        return None
    if not text.isdigit() or len(text) > 6:
        raise Invalid("revision: give the number of a revision.", errors={"revision": ["Not a number."]})
    return int(text)


def exported(version: Any, kind: str, revision: int | None) -> HttpResponse:
    """The card as a file."""
    card = reads.document(version, revision)
    text, content_type, suffix = (as_html(card), "text/html", "html") if kind == "html" else (as_markdown(card), "text/markdown", "md")
    answer = HttpResponse(text, content_type=f"{content_type}; charset=utf-8")
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in card.model)[:100]
    answer.headers["Content-Disposition"] = f'attachment; filename="{safe}-{card.version}-card-{card.revision}.{suffix}"'
    return answer


class CardExportView(APIView):
    """The card as a file: `html` for people and printers, `markdown` with Hugging Face's metadata."""

    @extend_schema(parameters=[OpenApiParameter("revision", int, description="Newest when left out.")], responses={200: OpenApiTypes.STR})
    def get(self, request: Request, name: str, number: int, kind: str) -> HttpResponse:
        """A download; it opens without a network."""
        return exported(version_of(request, name, number), kind, revision_number(request.query_params.get("revision")))


class FailureModeSerializer(serializers.ModelSerializer):
    """A known failure mode or edge case."""

    model = serializers.CharField(source="model.name")
    owner = serializers.EmailField(source="owner.email", default=None)

    class Meta:
        model = FailureMode
        fields = ["id", "model", *failures.FIELDS, "owner", "revision", "updated_by", "updated_at", "created_at"]


class FailureModeFormSerializer(StrictSerializer):
    """What to write down; `revision` only when changing an entry."""

    kind = serializers.ChoiceField(failures.KINDS, required=False)
    title = serializers.CharField(required=False, max_length=200)
    effect = serializers.CharField(required=False, max_length=4000, help_text="What happens.")
    condition = serializers.CharField(required=False, max_length=4000, help_text="When it happens.")
    severity = serializers.ChoiceField(failures.SEVERITIES, required=False)
    handling = serializers.CharField(required=False, allow_blank=True, max_length=4000, help_text="What handles it.")
    owner_email = serializers.EmailField(required=False, allow_blank=True)
    state = serializers.ChoiceField(failures.STATES, required=False)
    since_version = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    until_version = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    revision = serializers.IntegerField(required=False, min_value=1)


class FailureModesView(APIView):
    """Known failure modes and edge cases of a model."""

    @extend_schema(
        parameters=[OpenApiParameter("version", int, description="Only those that hold for this version.")],
        responses=FailureModeSerializer(many=True),
    )
    def get(self, request: Request, name: str) -> Response:
        """Open and grave ones first."""
        model = selectors.model(actor_of(request), name)
        version = revision_number(request.query_params.get("version"))
        return Response(FailureModeSerializer(reads.in_order(reads.failure_modes(model, version=version)), many=True).data)

    @extend_schema(request=FailureModeFormSerializer, responses={201: FailureModeSerializer})
    @idempotent
    def post(self, request: Request, name: str) -> Response:
        """Write one down."""
        form = FailureModeFormSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        values = {k: v for k, v in form.validated_data.items() if k != "revision"}
        row = services.record_failure_mode(actor=actor_of(request), model=selectors.model(actor_of(request), name).name, **values)
        return Response(FailureModeSerializer(row).data, status=status.HTTP_201_CREATED)


class FailureModeView(generics.GenericAPIView):
    """One entry of the register."""

    @extend_schema(responses=FailureModeSerializer)
    def get(self, request: Request, failure_id: Any) -> Response:
        """The entry."""
        return Response(FailureModeSerializer(reads.failure_mode(actor_of(request), failure_id)).data)

    @extend_schema(request=FailureModeFormSerializer, responses=FailureModeSerializer)
    @durable
    def patch(self, request: Request, failure_id: Any) -> Response:
        """Change the given fields; those left out stay."""
        form = FailureModeFormSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        row = services.change_failure_mode(actor=actor_of(request), failure_id=failure_id, **form.validated_data)
        return Response(FailureModeSerializer(row).data)
