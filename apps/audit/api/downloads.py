"""REST door of files to take away, of the feed for other systems, and of packs."""

import json
import re
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers, status
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit import downloads, feed
from apps.audit.models import Download
from apps.core.actor import Actor
from apps.core.api import actor_of, wrong
from apps.core.doors import call
from apps.core.forms import given
from apps.core.idempotency import idempotent
from apps.core.rest import Filter, ListView, View, operation

TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8", "pack": "application/zip"}


class DownloadSerializer(serializers.ModelSerializer):
    """A file that was asked for. `done` of `total`: events, or documents of a pack."""

    class Meta:
        model = Download
        fields = (
            "id", "kind", "filters", "usecase_id", "decision_id", "requested_by", "created_at", "state", "step", "done", "total", "tree_size",
            "size_bytes", "sha256", "detail", "expires_at",
        )  # fmt: skip
        read_only_fields = fields


class RequestDownloadSerializer(serializers.Serializer):
    """What to take away. jsonl and csv take the filters of the list of events; a pack takes a use case, and perhaps a decision."""

    kind = serializers.ChoiceField(choices=Download.Kind.choices)
    usecase_id = serializers.UUIDField(required=False, allow_null=True, default=None)
    decision_id = serializers.UUIDField(required=False, allow_null=True, default=None)
    search = serializers.CharField(required=False, default="", allow_blank=True, max_length=500)
    action = serializers.CharField(required=False, default="", allow_blank=True, max_length=100)
    actor = serializers.CharField(required=False, default="", allow_blank=True, max_length=300)
    object = serializers.CharField(required=False, default="", allow_blank=True, max_length=300)
    since = serializers.CharField(required=False, default="", allow_blank=True, max_length=40)
    until = serializers.CharField(required=False, default="", allow_blank=True, max_length=40)


class DownloadsView(ListView):
    """Files that were asked for."""

    lists = "List the files of the trail that you asked for, newest first."

    serializer_class = DownloadSerializer

    def get_queryset(self) -> Any:
        """One's own; all for auditors and administrators."""
        return Download.objects.none() if getattr(self, "swagger_fake_view", False) else downloads.visible(actor_of(self.request))

    @operation(request=RequestDownloadSerializer, responses={201: DownloadSerializer}, refuses=(404,))
    @idempotent
    def post(self, request: Request) -> Response:
        """Ask for a part of the trail as JSON lines with proofs or CSV, or for an evidence pack.

        Lines and CSV are ready at once; a pack when its `state` is `ready`. Take it from `content/`.
        """
        data = given(RequestDownloadSerializer, request)
        filters = {k: str(v) for k, v in data.items() if v and k not in ("kind", "usecase_id", "decision_id")}
        filters |= {k: str(data[f"{k}_id"]) for k in ("usecase", "decision") if data[f"{k}_id"]}
        made = downloads.request_download(actor=actor_of(request), kind=data["kind"], filters=filters)
        return Response(DownloadSerializer(made).data, status=status.HTTP_201_CREATED)


class DownloadView(View):
    """One file."""

    @operation(responses=DownloadSerializer)
    def get(self, request: Request, download_id: Any) -> Response:
        """Read how far a file is and when it expires."""
        return Response(DownloadSerializer(downloads.download(actor_of(request), download_id)).data)


class AnyRenderer(BaseRenderer):
    """Lets a client ask for the file's own type; only refusals pass through it, as JSON."""

    media_type = "*/*"
    format = "file"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """Problem details are JSON whatever was asked for."""
        return json.dumps(data).encode()


def file_response(actor: Actor, download_id: Any, *, after: int = -1) -> HttpResponseBase:
    """The file as an answer that is streamed; taking it is an event, written first."""
    found = call(downloads.take, actor=actor, download_id=download_id, after=after)
    response = StreamingHttpResponse(downloads.content(actor, found, after=after), content_type=TYPES[found.kind])
    response["Content-Disposition"] = f'attachment; filename="{downloads.filename(found)}"'
    response["Cache-Control"] = "no-store"
    response["X-Gatehouse-Tree-Size"] = str(found.tree_size)
    if found.kind == Download.Kind.PACK:
        size = found.size_bytes or 0
        response["Accept-Ranges"] = "bytes"
        response["Content-Length"] = str(max(0, size - after - 1))
        if after >= 0:
            response.status_code = 206
            response["Content-Range"] = f"bytes {after + 1}-{size - 1}/{size}"
    else:
        response["X-Gatehouse-Events"] = str(found.total)
    return response


def first_byte(actor: Actor, download_id: Any, asked: str) -> int:
    """Where a `Range: bytes=N-` begins; 0 for none and for forms that are not answered, as HTTP allows."""
    begins = re.fullmatch(r"bytes=(\d{1,15})-", asked.strip())
    found = downloads.download(actor, download_id)
    if begins is None or found.kind != Download.Kind.PACK or int(begins[1]) >= (found.size_bytes or 0):
        return 0
    return int(begins[1])


class DownloadContentView(View):
    """The file itself."""

    filters = {"after": Filter("Go on after the event of this leaf index (jsonl and csv): the last that arrived whole.", int)}
    renderer_classes = [JSONRenderer, AnyRenderer]

    @operation(responses={(200, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY)}, refuses=(404, 409, 410))
    def get(self, request: Request, download_id: Any) -> HttpResponseBase:
        """Download a file of the trail, also from where an earlier try broke off.

        Lines and CSV go on after `?after=`; a pack by the header `Range: bytes=N-`. Each try is an event.
        """
        actor, after = actor_of(request), request.query_params.get("after", "")
        start = first_byte(actor, download_id, request.headers.get("Range", ""))
        if after and downloads.download(actor, download_id).kind == Download.Kind.PACK:
            raise wrong("after", "a pack goes on with the header Range: bytes=N-.")
        return file_response(actor, download_id, after=int(after) if after else start - 1)


class FedSerializer(serializers.Serializer):
    """A sealed event at its place."""

    leaf_index = serializers.IntegerField()
    event = serializers.JSONField()


class FeedSerializer(serializers.Serializer):
    """Events after `after`, and where to go on. `sealed`: how many events are sealed; nothing waits when `next_after` is the last."""

    events = FedSerializer(many=True)
    next_after = serializers.IntegerField()
    sealed = serializers.IntegerField()


class FeedView(View):
    """The trail for another system to follow."""

    filters = {
        "after": Filter("`next_after` of the last answer that was kept; from the beginning without it.", int),
        "limit": Filter(f"How many events at most, 1 to {feed.MOST}; {feed.DEFAULT} without it.", int, least=1),
    }

    @operation(responses=FeedSerializer)
    def get(self, request: Request) -> Response:
        """Follow the trail, oldest first, in the order of the seal: every event you may see comes at least once.

        Keep `next_after` once the events are kept. An event that is not sealed yet comes later; none is skipped. When `next_after` is
        `sealed` - 1, ask again after a second.
        """
        query = request.query_params
        limit = int(query.get("limit") or feed.DEFAULT)
        if limit > feed.MOST:
            raise wrong("limit", f"give a whole number from 1 to {feed.MOST}.")
        return Response(feed.follow(actor_of(request), after=int(query["after"]) if query.get("after") else -1, limit=limit))


__all__ = ["DownloadContentView", "DownloadView", "DownloadsView", "FeedView", "file_response"]
