"""REST door of KPIs."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.api import actor_of
from apps.core.doors import durable
from apps.kpis import selectors, services
from apps.kpis.api.serializers import (
    BaselineSerializer,
    BatchSerializer,
    ChangeKpiSerializer,
    ConversionSerializer,
    CostSerializer,
    EffectSerializer,
    KpiSerializer,
    MeasurementSerializer,
    NewBaselineSerializer,
    NewKpiSerializer,
    RateCardSerializer,
    ReportSerializer,
    effect_json,
    value_json,
)
from apps.kpis.models import Kpi, Measurement, RateCard
from apps.usecases import selectors as usecases


def given(form: type[serializers.BaseSerializer[Any]], request: Request, **options: Any) -> dict[str, Any]:
    """The validated body; raises Invalid naming each wrong field."""
    filled = form(data=request.data, **options)
    filled.is_valid(raise_exception=True)
    return filled.validated_data


class KpisView(generics.ListAPIView):
    """KPIs I may see, and defining one."""

    serializer_class = KpiSerializer

    def get_queryset(self) -> Any:
        """Filtered by `?usecase=` (id or slug)."""
        if getattr(self, "swagger_fake_view", False):
            return Kpi.objects.none()
        actor = actor_of(self.request)
        ref = self.request.query_params.get("usecase")
        return selectors.kpis(actor, usecases.usecase(actor, ref).id if ref else None)

    @extend_schema(parameters=[OpenApiParameter("usecase", description="id or slug")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=NewKpiSerializer, responses={201: KpiSerializer})
    @durable
    def post(self, request: Request) -> Response:
        """Define a KPI."""
        actor, data = actor_of(request), given(NewKpiSerializer, request)
        usecase = usecases.usecase(actor, data.pop("usecase"))
        kpi = services.define_kpi(actor=actor, usecase_id=usecase.id, **data)
        return Response(KpiSerializer(kpi).data, status=status.HTTP_201_CREATED)


class KpiView(APIView):
    """One KPI."""

    @extend_schema(responses=KpiSerializer)
    def get(self, request: Request, kpi_id: Any) -> Response:
        """Its definition, where it stands against target and floor, and its baseline in force."""
        kpi = selectors.kpi(actor_of(request), kpi_id)
        head = selectors.headlines([kpi])[kpi.id]
        baseline = selectors.baseline_in_force(kpi.id)
        more = {
            "current": head | {"attainment": head["attainment"].as_dict()},
            "in_force": BaselineSerializer(baseline).data if baseline else None,
        }
        return Response(KpiSerializer(kpi).data | more)

    @extend_schema(request=ChangeKpiSerializer, responses=KpiSerializer)
    @durable
    def patch(self, request: Request, kpi_id: Any) -> Response:
        """Change what is given."""
        kpi = services.change_kpi(actor=actor_of(request), kpi_id=kpi_id, **given(ChangeKpiSerializer, request, partial=True))
        return Response(KpiSerializer(kpi).data)


class MeasurementsView(generics.ListAPIView):
    """What was measured, and sending more."""

    serializer_class = MeasurementSerializer

    def get_queryset(self) -> Any:
        """Newest first, corrected rows too."""
        if getattr(self, "swagger_fake_view", False):
            return Measurement.objects.none()
        return selectors.measurements(selectors.kpi(actor_of(self.request), self.kwargs["kpi_id"]).id)

    @extend_schema(request=BatchSerializer, responses=ReportSerializer)
    @durable
    def post(self, request: Request, kpi_id: Any) -> Response:
        """Send a batch. mode `all`: one bad row refuses it; `good`: the good rows land. A repeat changes nothing."""
        data = given(BatchSerializer, request)
        report = services.record_measurements(actor=actor_of(request), kpi_id=kpi_id, rows=data["rows"], mode=data["mode"])
        return Response(report.as_dict())


class BaselinesView(APIView):
    """Frozen baselines."""

    @extend_schema(responses=BaselineSerializer(many=True))
    def get(self, request: Request, kpi_id: Any) -> Response:
        """The one in force first."""
        rows = selectors.baselines(selectors.kpi(actor_of(request), kpi_id).id)
        return Response({"results": BaselineSerializer(rows, many=True).data, "next": None})

    @extend_schema(request=NewBaselineSerializer, responses={201: BaselineSerializer})
    @durable
    def post(self, request: Request, kpi_id: Any) -> Response:
        """Freeze one; it can never be changed, only be replaced by a later one with a reason."""
        baseline = services.freeze_baseline(actor=actor_of(request), kpi_id=kpi_id, **given(NewBaselineSerializer, request))
        return Response(BaselineSerializer(baseline).data, status=status.HTTP_201_CREATED)


class EffectView(APIView):
    """Better than the baseline?"""

    @extend_schema(parameters=[OpenApiParameter("version", description="model version, name/3")], responses=EffectSerializer)
    def get(self, request: Request, kpi_id: Any) -> Response:
        """With its 95% interval and the method, or what is missing for one."""
        kpi = selectors.kpi(actor_of(request), kpi_id)
        return Response(effect_json(selectors.effect(kpi, request.query_params.get("version") or None)))


class SeriesView(APIView):
    """The figure over time."""

    @extend_schema(parameters=[OpenApiParameter("version")], responses=MeasurementSerializer(many=True))
    def get(self, request: Request, kpi_id: Any) -> Response:
        """Measurements in force, oldest first, the newest 5,000 at most."""
        kpi = selectors.kpi(actor_of(request), kpi_id)
        rows = selectors.series(kpi, version_label=request.query_params.get("version"))
        return Response({"results": MeasurementSerializer(rows, many=True).data, "next": None})


class ConversionView(APIView):
    """What an improvement is worth."""

    @extend_schema(responses=ConversionSerializer(many=True))
    def get(self, request: Request, kpi_id: Any) -> Response:
        """The one in force first."""
        rows = selectors.conversions(selectors.kpi(actor_of(request), kpi_id).id)
        return Response({"results": ConversionSerializer(rows, many=True).data, "next": None})

    @extend_schema(request=ConversionSerializer, responses={201: ConversionSerializer})
    @durable
    def post(self, request: Request, kpi_id: Any) -> Response:
        """Sign one off."""
        row = services.set_value_conversion(actor=actor_of(request), kpi_id=kpi_id, **given(ConversionSerializer, request))
        return Response(ConversionSerializer(row).data, status=status.HTTP_201_CREATED)


class ValueView(APIView):
    """What a use case is worth so far."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, ref: str) -> Response:
        """Value with its interval, cost, and what is left; null where data is too little."""
        return Response(value_json(selectors.value(usecases.usecase(actor_of(request), ref))))


class CostsView(APIView):
    """Running costs."""

    @extend_schema(request=CostSerializer, responses={201: CostSerializer})
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Write what running cost over a period; the same external_id again changes nothing."""
        actor = actor_of(request)
        entry = services.record_cost(actor=actor, usecase_id=usecases.usecase(actor, ref).id, **given(CostSerializer, request))
        return Response(CostSerializer(entry).data, status=status.HTTP_201_CREATED)


class RateCardsView(generics.ListAPIView):
    """What computing costs."""

    serializer_class = RateCardSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        return RateCard.objects.none() if getattr(self, "swagger_fake_view", False) else selectors.rate_cards()

    @extend_schema(request=RateCardSerializer, responses={201: RateCardSerializer})
    @durable
    def post(self, request: Request) -> Response:
        """Set a card (administrators)."""
        card = services.set_rate_card(actor=actor_of(request), **given(RateCardSerializer, request))
        return Response(RateCardSerializer(card).data, status=status.HTTP_201_CREATED)
