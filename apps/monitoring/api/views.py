"""REST door of monitoring."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.api.idempotency import idempotent
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.errors import Invalid
from apps.deployments import selectors as deployments
from apps.monitoring import selectors, services
from apps.monitoring.api.serializers import (
    CaptureCountsSerializer,
    EvaluationSerializer,
    IncidentSerializer,
    LabelReportSerializer,
    LabelsSerializer,
    MonitorSerializer,
    NewIncidentSerializer,
    NewMonitorSerializer,
    ResolutionSerializer,
    WindowSerializer,
)
from apps.monitoring.models import Incident, Monitor, MonitorWindow
from apps.usecases import selectors as usecases


def given(form: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The validated body; raises Invalid naming each wrong field."""
    filled = form(data=request.data)
    filled.is_valid(raise_exception=True)
    return filled.validated_data


def _moment(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        # A plus sign in an address arrives as a space.
        moment = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Invalid(f"{name}: give a moment with its time zone, such as 2026-11-01T00:00:00Z.", errors={name: ["No moment."]})
    return moment


class LabelsView(APIView):
    """Labels of an endpoint's predictions."""

    @extend_schema(request=LabelsSerializer, responses={201: LabelReportSerializer})
    @durable
    def post(self, request: Request, reference: str) -> Response:
        """Post what turned out to be true; the first label of a row stays, a repeat changes nothing."""
        rows = request.data.get("labels") if isinstance(request.data, dict) else None
        if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
            raise Invalid('labels: send {"labels": [{"request_id", "row", "label"}]}.', errors={"labels": ["Not a list of objects."]})
        actor = actor_of(request)
        report = services.record_labels(actor=actor, endpoint_id=deployments.endpoint(actor, reference).id, rows=rows)
        return Response(asdict(report), status=status.HTTP_201_CREATED)


class CapturesView(APIView):
    """Captured predictions, counted."""

    @extend_schema(parameters=[OpenApiParameter("since", datetime), OpenApiParameter("until", datetime)], responses=CaptureCountsSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """How many rows each deployed version answered, and its share. Captures appear within about two seconds."""
        found = selectors.capture_counts(actor_of(request), reference, since=_moment(request, "since"), until=_moment(request, "until"))
        return Response(CaptureCountsSerializer(found).data)


class MonitorsView(generics.ListAPIView):
    """Monitors."""

    serializer_class = MonitorSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?endpoint=`."""
        if getattr(self, "swagger_fake_view", False):
            return Monitor.objects.none()
        actor, reference = actor_of(self.request), self.request.query_params.get("endpoint")
        return selectors.monitors(actor, endpoint_id=deployments.endpoint(actor, reference).id if reference else None)

    @extend_schema(parameters=[OpenApiParameter("endpoint", str, description="id or slug")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=NewMonitorSerializer, responses={201: MonitorSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Watch an endpoint; a monitor of the same kind there is retired."""
        actor, data = actor_of(request), given(NewMonitorSerializer, request)
        endpoint = deployments.endpoint(actor, data.pop("endpoint"))
        monitor = services.create_monitor(actor=actor, endpoint_id=endpoint.id, **data)
        return Response(MonitorSerializer(selectors.monitor(actor, monitor.id)).data, status=status.HTTP_201_CREATED)


class MonitorView(APIView):
    """One monitor."""

    @extend_schema(responses=MonitorSerializer)
    def get(self, request: Request, monitor_id: str) -> Response:
        """Its settings and reference."""
        return Response(MonitorSerializer(selectors.monitor(actor_of(request), monitor_id)).data)

    @extend_schema(request=None, responses=MonitorSerializer)
    @durable
    def delete(self, request: Request, monitor_id: str) -> Response:
        """Retire it; its windows stay."""
        services.retire_monitor(actor=actor_of(request), monitor_id=monitor_id)
        return Response(MonitorSerializer(selectors.monitor(actor_of(request), monitor_id)).data)


class WindowsView(generics.ListAPIView):
    """Windows of one monitor."""

    serializer_class = WindowSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        if getattr(self, "swagger_fake_view", False):
            return MonitorWindow.objects.none()
        actor = actor_of(self.request)
        return selectors.windows(actor, monitor_id=selectors.monitor(actor, self.kwargs["monitor_id"]).id)


class EvaluateView(APIView):
    """Having a monitor look now."""

    @extend_schema(request=None, responses=EvaluationSerializer)
    def post(self, request: Request, monitor_id: str) -> Response:
        """Judge what came since the last window; `window` is null with the reason in `detail` while there is too little."""
        # The service opens its own transaction once captures have been read.
        found = services.evaluate_monitor(actor=actor_of(request), monitor_id=monitor_id)
        return Response(EvaluationSerializer(found).data)


class IncidentsView(generics.ListAPIView):
    """Incidents."""

    serializer_class = IncidentSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?usecase=`, `?endpoint=`, `?open=true`."""
        if getattr(self, "swagger_fake_view", False):
            return Incident.objects.none()
        actor, params = actor_of(self.request), self.request.query_params
        usecase = usecases.usecase(actor, params["usecase"]).id if params.get("usecase") else None
        endpoint = deployments.endpoint(actor, params["endpoint"]).id if params.get("endpoint") else None
        return selectors.incidents(actor, usecase_id=usecase, endpoint_id=endpoint, open_only=params.get("open") in {"1", "true"})

    @extend_schema(parameters=[OpenApiParameter("usecase", str), OpenApiParameter("endpoint", str), OpenApiParameter("open", bool)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=NewIncidentSerializer, responses={201: IncidentSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Open one by hand."""
        actor, data = actor_of(request), given(NewIncidentSerializer, request)
        endpoint = deployments.endpoint(actor, data.pop("endpoint"))
        made = services.open_incident(actor=actor, endpoint_id=endpoint.id, deployment_id=data.pop("deployment"), **data)
        return Response(IncidentSerializer(selectors.incident(actor, made.id)).data, status=status.HTTP_201_CREATED)


class IncidentView(APIView):
    """One incident."""

    @extend_schema(responses=IncidentSerializer)
    def get(self, request: Request, incident_id: str) -> Response:
        """What was seen, and what was done about it."""
        return Response(IncidentSerializer(selectors.incident(actor_of(request), incident_id)).data)


class CloseIncidentView(APIView):
    """Closing an incident."""

    @extend_schema(request=ResolutionSerializer, responses=IncidentSerializer)
    @durable
    def post(self, request: Request, incident_id: str) -> Response:
        """Close it; its hold on the decision is lifted."""
        actor = actor_of(request)
        services.close_incident(actor=actor, incident_id=incident_id, **given(ResolutionSerializer, request))
        return Response(IncidentSerializer(selectors.incident(actor, incident_id)).data)
