"""REST door of monitoring."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.errors import Invalid
from apps.core.forms import given
from apps.core.idempotency import idempotent, idempotent_around
from apps.core.rest import ENDPOINT, USECASE, Filter, ListView, View, operation
from apps.deployments import selectors as deployments
from apps.monitoring import selectors, services
from apps.monitoring.api.serializers import (
    CaptureCountsSerializer,
    EvaluationSerializer,
    IncidentSerializer,
    KeptLabelSerializer,
    LabelReportSerializer,
    LabelsSerializer,
    MonitorSerializer,
    NewIncidentSerializer,
    NewMonitorSerializer,
    ResolutionSerializer,
    WindowSerializer,
)
from apps.monitoring.models import Incident, Monitor, MonitorWindow, PredictionLabel
from apps.usecases import selectors as usecases


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


class LabelsView(ListView):
    """Labels of an endpoint's predictions."""

    lists = "List the labels of an endpoint's predictions, newest first, corrected ones too."
    filters = {
        "state": Filter("Only those without a captured prediction, that were corrected, or that hold.", choices=selectors.LABEL_STATES)
    }

    serializer_class = KeptLabelSerializer

    def get_queryset(self) -> Any:
        """Newest first, of `?state=`."""
        if getattr(self, "swagger_fake_view", False):
            return PredictionLabel.objects.none()
        params = self.request.query_params
        return selectors.labels(actor_of(self.request), self.kwargs["reference"], state=params.get("state", ""))

    @operation(request=LabelsSerializer, responses={201: LabelReportSerializer})
    def post(self, request: Request, reference: str) -> Response:
        """Post what turned out to be true of an endpoint's predictions.

        The first label of a row stays unless `correct` is true; a repeat changes nothing. Labels whose prediction is not captured
        are taken and counted as `unmatched`; `strict` refuses them.
        """
        data: dict[str, Any] = request.data if isinstance(request.data, dict) else {}
        rows = data.get("labels")
        if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
            raise Invalid('labels: send {"labels": [{"request_id", "row", "label"}]}.', errors={"labels": ["Not a list of objects."]})
        actor, how = actor_of(request), {name: data.get(name, False) for name in ("strict", "correct")}
        if wrong := next((name for name, value in how.items() if not isinstance(value, bool)), ""):
            raise Invalid(f"{wrong}: give true or false.", errors={wrong: ["Not true or false."]})
        # The service opens its own transaction once captures have been read.
        report = services.record_labels(actor=actor, endpoint_id=deployments.endpoint(actor, reference).id, rows=rows, **how)
        return Response(asdict(report), status=status.HTTP_201_CREATED)


class CapturesView(View):
    """Captured predictions, counted."""

    filters = {"since": Filter("Not before this moment."), "until": Filter("Before this moment.")}

    @operation(responses=CaptureCountsSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Count the rows that each deployed version of an endpoint answered, with its share.

        Captures appear within about two seconds.
        """
        found = selectors.capture_counts(actor_of(request), reference, since=_moment(request, "since"), until=_moment(request, "until"))
        return Response(CaptureCountsSerializer(found).data)


class MonitorsView(ListView):
    """Monitors."""

    lists = "List the monitors you may see, newest first."
    filters = {"endpoint": ENDPOINT}

    serializer_class = MonitorSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?endpoint=`."""
        if getattr(self, "swagger_fake_view", False):
            return Monitor.objects.none()
        actor, reference = actor_of(self.request), self.request.query_params.get("endpoint")
        return selectors.monitors(actor, endpoint_id=deployments.endpoint(actor, reference).id if reference else None)

    @operation(request=NewMonitorSerializer, responses={201: MonitorSerializer}, refuses=(404,))
    @idempotent
    def post(self, request: Request) -> Response:
        """Watch an endpoint with a new monitor; one of the same kind there is retired."""
        actor, data = actor_of(request), given(NewMonitorSerializer, request)
        endpoint = deployments.endpoint(actor, data.pop("endpoint"))
        monitor = services.create_monitor(actor=actor, endpoint_id=endpoint.id, **data)
        return Response(MonitorSerializer(selectors.monitor(actor, monitor.id)).data, status=status.HTTP_201_CREATED)


class MonitorView(View):
    """One monitor."""

    @operation(responses=MonitorSerializer)
    def get(self, request: Request, monitor_id: str) -> Response:
        """Read the settings and reference of one monitor."""
        return Response(MonitorSerializer(selectors.monitor(actor_of(request), monitor_id)).data)

    @operation(responses={200: MonitorSerializer})
    @durable
    def delete(self, request: Request, monitor_id: str) -> Response:
        """Retire a monitor; its windows stay."""
        services.retire_monitor(actor=actor_of(request), monitor_id=monitor_id)
        return Response(MonitorSerializer(selectors.monitor(actor_of(request), monitor_id)).data)


class WindowsView(ListView):
    """Windows of one monitor."""

    lists = "List the windows of a monitor, newest first."

    serializer_class = WindowSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        if getattr(self, "swagger_fake_view", False):
            return MonitorWindow.objects.none()
        actor = actor_of(self.request)
        return selectors.windows(actor, monitor_id=selectors.monitor(actor, self.kwargs["monitor_id"]).id)


class EvaluateView(View):
    """Having a monitor look now."""

    @operation(responses=EvaluationSerializer, refuses=(409,))
    @idempotent_around
    def post(self, request: Request, monitor_id: str) -> Response:
        """Judge now what came since the last window of a monitor.

        `window` is null with the reason in `detail` while there is too little.
        """
        # The service opens its own transaction once captures have been read.
        found = services.evaluate_monitor(actor=actor_of(request), monitor_id=monitor_id)
        return Response(EvaluationSerializer(found).data)


class IncidentsView(ListView):
    """Incidents."""

    lists = "List the incidents you may see, newest first."
    filters = {"usecase": USECASE, "endpoint": ENDPOINT, "open": Filter("true: only those that are open.", bool)}

    serializer_class = IncidentSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?usecase=`, `?endpoint=`, `?open=true`."""
        if getattr(self, "swagger_fake_view", False):
            return Incident.objects.none()
        actor, params = actor_of(self.request), self.request.query_params
        usecase = usecases.usecase(actor, params["usecase"]).id if params.get("usecase") else None
        endpoint = deployments.endpoint(actor, params["endpoint"]).id if params.get("endpoint") else None
        return selectors.incidents(actor, usecase_id=usecase, endpoint_id=endpoint, open_only=params.get("open") == "true")

    @operation(request=NewIncidentSerializer, responses={201: IncidentSerializer}, refuses=(404,))
    @idempotent
    def post(self, request: Request) -> Response:
        """Open an incident by hand."""
        actor, data = actor_of(request), given(NewIncidentSerializer, request)
        endpoint = deployments.endpoint(actor, data.pop("endpoint"))
        made = services.open_incident(actor=actor, endpoint_id=endpoint.id, deployment_id=data.pop("deployment"), **data)
        return Response(IncidentSerializer(selectors.incident(actor, made.id)).data, status=status.HTTP_201_CREATED)


class IncidentView(View):
    """One incident."""

    @operation(responses=IncidentSerializer)
    def get(self, request: Request, incident_id: str) -> Response:
        """Read what was seen in one incident, and what was done about it."""
        return Response(IncidentSerializer(selectors.incident(actor_of(request), incident_id)).data)


class CloseIncidentView(View):
    """Closing an incident."""

    @operation(request=ResolutionSerializer, responses=IncidentSerializer)
    @durable
    def post(self, request: Request, incident_id: str) -> Response:
        """Close an incident; its hold on the decision is lifted."""
        actor = actor_of(request)
        services.close_incident(actor=actor, incident_id=incident_id, **given(ResolutionSerializer, request))
        return Response(IncidentSerializer(selectors.incident(actor, incident_id)).data)
