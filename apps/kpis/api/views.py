"""REST door of KPIs."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import USECASE, Filter, ListView, View, listed, operation
from apps.kpis import selectors, services
from apps.kpis.api.serializers import (
    BaselineSerializer,
    BatchSerializer,
    ChangeKpiSerializer,
    ConversionSerializer,
    CostSerializer,
    KpiSerializer,
    MeasuredEffectSerializer,
    MeasurementSerializer,
    NewBaselineSerializer,
    NewKpiSerializer,
    OriginSerializer,
    RateCardSerializer,
    ReportSerializer,
    effect_json,
    value_json,
)
from apps.kpis.models import Kpi, Measurement, RateCard
from apps.usecases import selectors as usecases

VERSION = {"version": Filter("A model version, such as name/3.")}


class KpisView(ListView):
    """KPIs I may see, and defining one."""

    lists = "List the KPIs you may see, newest first."
    filters = {"usecase": USECASE}

    serializer_class = KpiSerializer

    def get_queryset(self) -> Any:
        """Filtered by `?usecase=` (id or slug)."""
        if getattr(self, "swagger_fake_view", False):
            return Kpi.objects.none()
        actor = actor_of(self.request)
        ref = self.request.query_params.get("usecase")
        return selectors.kpis(actor, usecases.usecase(actor, ref).id if ref else None)

    @operation(request=NewKpiSerializer, responses={201: KpiSerializer}, refuses=(404, 409))
    @durable
    def post(self, request: Request) -> Response:
        """Define a KPI of a use case."""
        actor, data = actor_of(request), given(NewKpiSerializer, request)
        usecase = usecases.usecase(actor, data.pop("usecase"))
        kpi = services.define_kpi(actor=actor, usecase_id=usecase.id, **data)
        return Response(KpiSerializer(kpi).data, status=status.HTTP_201_CREATED)


class KpiView(View):
    """One KPI."""

    filters = VERSION

    @operation(responses=KpiSerializer)
    def get(self, request: Request, kpi_id: Any) -> Response:
        """Read one KPI with where it stands against target and floor, and its baseline in force.

        Of the version measured last, or of `?version=`.
        """
        kpi = selectors.kpi(actor_of(request), kpi_id)
        version = request.query_params.get("version")
        head = selectors.headlines([kpi], {kpi.usecase_id: version} if version else None)[kpi.id]
        baseline = selectors.baseline_in_force(kpi.id)
        more = {
            "current": head | {"attainment": head["attainment"].as_dict()},
            "in_force": BaselineSerializer(baseline).data if baseline else None,
        }
        return Response(KpiSerializer(kpi).data | more)

    @operation(request=ChangeKpiSerializer, responses=KpiSerializer, refuses=(409,))
    @durable
    def patch(self, request: Request, kpi_id: Any) -> Response:
        """Change the fields of a KPI that are given."""
        kpi = services.change_kpi(actor=actor_of(request), kpi_id=kpi_id, **given(ChangeKpiSerializer, request, partial=True))
        return Response(KpiSerializer(kpi).data)


class MeasurementsView(ListView):
    """What was measured, and sending more."""

    lists = "List what was measured of a KPI, newest first, corrected rows too."

    serializer_class = MeasurementSerializer

    def get_queryset(self) -> Any:
        """Newest first, corrected rows too."""
        if getattr(self, "swagger_fake_view", False):
            return Measurement.objects.none()
        return selectors.measurements(selectors.kpi(actor_of(self.request), self.kwargs["kpi_id"]).id)

    @operation(request=BatchSerializer, responses=ReportSerializer)
    @durable
    def post(self, request: Request, kpi_id: Any) -> Response:
        """Send a batch of measurements of a KPI.

        Mode `all`: one bad row refuses it; `good`: the good rows land. A repeat changes nothing.
        """
        data = given(BatchSerializer, request)
        report = services.record_measurements(actor=actor_of(request), kpi_id=kpi_id, rows=data["rows"], mode=data["mode"])
        return Response(report.as_dict())


class BaselinesView(View):
    """Frozen baselines."""

    @operation(responses=listed(BaselineSerializer))
    def get(self, request: Request, kpi_id: Any) -> Response:
        """List the frozen baselines of a KPI, the one in force first."""
        rows = selectors.baselines(selectors.kpi(actor_of(request), kpi_id).id)
        return Response({"results": BaselineSerializer(rows, many=True).data, "next": None})

    @operation(request=NewBaselineSerializer, responses={201: BaselineSerializer})
    @durable
    def post(self, request: Request, kpi_id: Any) -> Response:
        """Freeze a baseline of a KPI.

        It can never be changed, only be replaced by a later one with a reason.
        """
        baseline = services.freeze_baseline(actor=actor_of(request), kpi_id=kpi_id, **given(NewBaselineSerializer, request))
        return Response(BaselineSerializer(baseline).data, status=status.HTTP_201_CREATED)


class EffectView(View):
    """Better than the baseline?"""

    filters = VERSION

    @operation(responses=MeasuredEffectSerializer)
    def get(self, request: Request, kpi_id: Any) -> Response:
        """Compare a KPI with its baseline.

        With its 95% interval and the method, or what is missing for one; `origins` says who measured the rows.
        """
        kpi = selectors.kpi(actor_of(request), kpi_id)
        baseline = selectors.baseline_in_force(kpi.id)
        rows = selectors.since(kpi, baseline, version_label=request.query_params.get("version") or None)
        found = effect_json(selectors.effect_of(kpi, baseline, rows))
        return Response(found | {"origins": OriginSerializer(selectors.origins_of(rows), many=True).data})


class SeriesView(View):
    """The figure over time."""

    filters = VERSION

    @operation(responses=listed(MeasurementSerializer))
    def get(self, request: Request, kpi_id: Any) -> Response:
        """List the measurements of a KPI in force, oldest first, the newest 5,000 at most."""
        kpi = selectors.kpi(actor_of(request), kpi_id)
        rows = selectors.series(kpi, version_label=request.query_params.get("version"))
        return Response({"results": MeasurementSerializer(rows, many=True).data, "next": None})


class ConversionView(View):
    """What an improvement is worth."""

    @operation(responses=listed(ConversionSerializer))
    def get(self, request: Request, kpi_id: Any) -> Response:
        """List what an improvement of a KPI is worth, the figure in force first."""
        rows = selectors.conversions(selectors.kpi(actor_of(request), kpi_id).id)
        return Response({"results": ConversionSerializer(rows, many=True).data, "next": None})

    @operation(request=ConversionSerializer, responses={201: ConversionSerializer})
    @durable
    def post(self, request: Request, kpi_id: Any) -> Response:
        """Sign off what an improvement of a KPI is worth."""
        row = services.set_value_conversion(actor=actor_of(request), kpi_id=kpi_id, **given(ConversionSerializer, request))
        return Response(ConversionSerializer(row).data, status=status.HTTP_201_CREATED)


class ValueView(View):
    """What a use case is worth so far."""

    @operation(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, ref: str) -> Response:
        """Read what a use case is worth so far: value with its interval, cost, and what is left.

        Null where data is too little.
        """
        return Response(value_json(selectors.value(usecases.usecase(actor_of(request), ref))))


class CostsView(View):
    """Running costs."""

    @operation(request=CostSerializer, responses={201: CostSerializer})
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Write what running a use case cost over a period.

        The same external_id again changes nothing.
        """
        actor = actor_of(request)
        entry = services.record_cost(actor=actor, usecase_id=usecases.usecase(actor, ref).id, **given(CostSerializer, request))
        return Response(CostSerializer(entry).data, status=status.HTTP_201_CREATED)


class RateCardsView(ListView):
    """What computing costs."""

    lists = "List the rate cards, newest first."

    serializer_class = RateCardSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        return RateCard.objects.none() if getattr(self, "swagger_fake_view", False) else selectors.rate_cards()

    @operation(request=RateCardSerializer, responses={201: RateCardSerializer})
    @durable
    def post(self, request: Request) -> Response:
        """Set a rate card (administrators)."""
        card = services.set_rate_card(actor=actor_of(request), **given(RateCardSerializer, request))
        return Response(RateCardSerializer(card).data, status=status.HTTP_201_CREATED)
