"""REST door of the trail."""

import json
from typing import Any

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.audit import selectors
from apps.audit.api.download import export_response
from apps.audit.api.serializers import (
    CheckpointSerializer,
    ConsistencyProofSerializer,
    ConsistencyQuerySerializer,
    EventDetailSerializer,
    EventSerializer,
    ExportSerializer,
    InclusionProofSerializer,
)
from apps.audit.models import Checkpoint, Event
from apps.core.api import KeysetPagination, actor_of
from apps.core.errors import Invalid

_FILTERS = {
    "search": "Words, each anywhere in what was recorded.",
    "action": "An action, or its beginning: `approvals.gate.signed`, `approvals.gate`, `approvals`.",
    "actor": "Id of an actor, or part of a name.",
    "object": "Id of an object, its type, or `type:id`.",
    "usecase": "Id of a use case.",
    "decision": "Id of a gate decision.",
    "since": "Not before this time (RFC 3339) or date.",
    "until": "Before this time, or on or before this date.",
}


class CheckpointPagination(KeysetPagination):
    """Checkpoints by size."""

    ordering = "-tree_size"


@extend_schema_view(get=extend_schema(parameters=[OpenApiParameter(name, str, description=text) for name, text in _FILTERS.items()]))
class EventsView(generics.ListAPIView):
    """The events you may see, newest first."""

    serializer_class = EventSerializer

    def get_queryset(self) -> Any:
        """Visible events that meet the filters."""
        if getattr(self, "swagger_fake_view", False):
            return Event.objects.none()
        given = {name: self.request.query_params.get(name, "").strip() for name in _FILTERS}
        return selectors.search(
            actor_of(self.request),
            text=given["search"],
            action=given["action"],
            who=given["actor"],
            obj=given["object"],
            usecase=given["usecase"],
            decision=given["decision"],
            since=given["since"],
            until=given["until"],
        ).with_leaf_index()


class EventView(APIView):
    """One event."""

    @extend_schema(responses=EventDetailSerializer)
    def get(self, request: Request, event_id: Any) -> Response:
        """The event with the exact text that is hashed."""
        return Response(EventDetailSerializer(selectors.event(actor_of(request), event_id)).data)


class EventProofView(APIView):
    """Inclusion proof of one event."""

    @extend_schema(
        responses=InclusionProofSerializer,
        parameters=[OpenApiParameter("tree_size", int, description="Prove it under the checkpoint of this size; the newest if absent.")],
    )
    def get(self, request: Request, event_id: Any) -> Response:
        """Path from the event to the root of a signed checkpoint (RFC 6962)."""
        size = request.query_params.get("tree_size", "")
        if size and not (size.isascii() and size.isdigit() and len(size) < 19):
            raise Invalid("tree_size: give the size of a checkpoint.", errors={"tree_size": ["Not a number."]})
        return Response(selectors.inclusion_proof(actor_of(request), event_id, tree_size=int(size) if size else None))


class CheckpointsView(generics.ListAPIView):
    """Signed checkpoints, newest first."""

    serializer_class = CheckpointSerializer
    pagination_class = CheckpointPagination

    def get_queryset(self) -> Any:
        """All; they hold sizes and roots only."""
        return selectors.checkpoints() if not getattr(self, "swagger_fake_view", False) else Checkpoint.objects.none()


class ConsistencyView(APIView):
    """Consistency proof between two checkpoints."""

    @extend_schema(responses=ConsistencyProofSerializer, parameters=[ConsistencyQuerySerializer])
    def get(self, request: Request) -> Response:
        """That the tree of size `from` is a beginning of that of size `to` (RFC 6962)."""
        form = ConsistencyQuerySerializer(data=request.query_params)
        form.is_valid(raise_exception=True)
        return Response(selectors.consistency_proof(form.validated_data["from"], form.validated_data["to"]))


class ZipRenderer(BaseRenderer):
    """Lets a client ask for `application/zip`; only refusals pass through it, as JSON."""

    media_type = "application/zip"
    format = "zip"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """Problem details are JSON whatever was asked for."""
        return json.dumps(data).encode()


class ExportsView(APIView):
    """Export with proofs."""

    renderer_classes = [JSONRenderer, ZipRenderer]

    @extend_schema(request=ExportSerializer, responses={(200, "application/zip"): OpenApiResponse(OpenApiTypes.BINARY)})
    def post(self, request: Request) -> FileResponse:
        """A ZIP with the sealed events of a use case or of the whole trail, which the offline verifier checks. Is itself an event."""
        form = ExportSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        usecase_id = form.validated_data["usecase_id"]
        return export_response(actor_of(request), usecase_id=str(usecase_id) if usecase_id else None)
