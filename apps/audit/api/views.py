"""REST door of the trail."""

import json
from typing import Any

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit import history, selectors
from apps.audit.api.download import export_response
from apps.audit.api.serializers import (
    CheckpointSerializer,
    ConsistencyProofSerializer,
    EventDetailSerializer,
    EventSerializer,
    ExportSerializer,
    InclusionProofSerializer,
    RowChangeSerializer,
)
from apps.audit.models import Checkpoint, Event, RowChange
from apps.core.api import KeysetPagination, actor_of
from apps.core.forms import given
from apps.core.rest import Filter, ListView, View, operation

_FILTERS = {
    "search": Filter("Words, each anywhere in what was recorded."),
    "action": Filter("An action, or its beginning: `approvals.gate.signed`, `approvals.gate`, `approvals`."),
    "actor": Filter("Id of an actor, or part of a name."),
    "object": Filter("Id of an object, its type, or `type:id`."),
    "usecase": Filter("Id of a use case."),
    "decision": Filter("Id of a gate decision."),
    "since": Filter("Not before this time (RFC 3339) or date."),
    "until": Filter("Before this time, or on or before this date."),
}


class CheckpointPagination(KeysetPagination):
    """Checkpoints by size."""

    ordering = "-tree_size"


class EventsView(ListView):
    """The events you may see, newest first."""

    lists = "List the events of the trail that you may see, newest first."
    filters = _FILTERS

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


class EventView(View):
    """One event."""

    @operation(responses=EventDetailSerializer)
    def get(self, request: Request, event_id: Any) -> Response:
        """Read one event with the exact text that is hashed."""
        return Response(EventDetailSerializer(selectors.event(actor_of(request), event_id)).data)


class EventProofView(View):
    """Inclusion proof of one event."""

    filters = {"tree_size": Filter("Prove it under the checkpoint of this size; the newest if absent.", int)}

    @operation(responses=InclusionProofSerializer, refuses=(409,))
    def get(self, request: Request, event_id: Any) -> Response:
        """Prove that an event is in the trail (RFC 6962).

        The path leads from the event to the root of a signed checkpoint.
        """
        size = request.query_params.get("tree_size", "")
        return Response(selectors.inclusion_proof(actor_of(request), event_id, tree_size=int(size) if size else None))


class RowPagination(KeysetPagination):
    """Row changes by number."""

    ordering = "-id"


class RowsView(ListView):
    """Row history, newest first."""

    lists = "List what happened to the rows of governed tables, newest first; for auditors and administrators."
    filters = {
        "table": Filter("Name of a table, such as `usecases_usecase`."),
        "object": Filter("Id of an object: its row's key."),
        "told": Filter("true: changes that an event of the same transaction tells of; false: those that none does.", bool),
    }

    serializer_class = RowChangeSerializer
    pagination_class = RowPagination

    def get_queryset(self) -> Any:
        """Changes that meet the filters."""
        if getattr(self, "swagger_fake_view", False):
            return RowChange.objects.none()
        given = {name: self.request.query_params.get(name, "").strip() for name in self.filters}
        untold = None if not given["told"] else given["told"] == "false"
        return history.search(actor_of(self.request), table=given["table"], row_id=given["object"], untold=untold)


class CheckpointsView(ListView):
    """Signed checkpoints, newest first."""

    lists = "List the signed checkpoints of the trail, newest first."

    serializer_class = CheckpointSerializer
    pagination_class = CheckpointPagination

    def get_queryset(self) -> Any:
        """All; they hold sizes and roots only."""
        return selectors.checkpoints() if not getattr(self, "swagger_fake_view", False) else Checkpoint.objects.none()


class ConsistencyView(View):
    """Consistency proof between two checkpoints."""

    filters = {
        "from": Filter("Size of the older checkpoint.", int, needed=True, least=1),
        "to": Filter("Size of the newer checkpoint.", int, needed=True, least=1),
    }

    @operation(responses=ConsistencyProofSerializer, refuses=(404,))
    def get(self, request: Request) -> Response:
        """Prove that the tree of size `from` is a beginning of that of size `to` (RFC 6962)."""
        sizes = request.query_params
        return Response(selectors.consistency_proof(int(sizes["from"]), int(sizes["to"])))


class ZipRenderer(BaseRenderer):
    """Lets a client ask for `application/zip`; only refusals pass through it, as JSON."""

    media_type = "application/zip"
    format = "zip"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """Problem details are JSON whatever was asked for."""
        return json.dumps(data).encode()


class ExportsView(View):
    """Export with proofs."""

    renderer_classes = [JSONRenderer, ZipRenderer]

    @operation(request=ExportSerializer, responses={(200, "application/zip"): OpenApiResponse(OpenApiTypes.BINARY)}, refuses=(404, 409))
    def post(self, request: Request) -> FileResponse:
        """Export the sealed events of a use case or of the whole trail as a ZIP.

        The offline verifier checks it. The export is itself an event.
        """
        data = given(ExportSerializer, request)
        usecase_id = data["usecase_id"]
        return export_response(actor_of(request), usecase_id=str(usecase_id) if usecase_id else None)
