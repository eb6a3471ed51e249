"""REST door of load tests."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.api.idempotency import idempotent
from apps.core.api import actor_of
from apps.loadtests import selectors, services
from apps.loadtests.api.serializers import LoadRunSerializer, NewLoadRunSerializer
from apps.loadtests.models import LoadRun
from apps.usecases import selectors as usecases


class LoadRunsView(generics.ListAPIView):
    """Load tests."""

    serializer_class = LoadRunSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?usecase=` and `?deployment=`."""
        if getattr(self, "swagger_fake_view", False):
            return LoadRun.objects.none()
        actor, params = actor_of(self.request), self.request.query_params
        usecase = usecases.usecase(actor, params["usecase"]).id if params.get("usecase") else None
        return selectors.runs(actor, usecase_id=usecase, deployment_id=params.get("deployment") or None)

    @extend_schema(parameters=[OpenApiParameter("usecase", str), OpenApiParameter("deployment", str)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=NewLoadRunSerializer, responses={201: LoadRunSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Ask for a run; look at it until its state is done or failed."""
        form = NewLoadRunSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        data, actor = dict(form.validated_data), actor_of(request)
        run = services.request_run(actor=actor, deployment_id=data.pop("deployment"), **data)
        return Response(LoadRunSerializer(selectors.run(actor, run.id)).data, status=status.HTTP_201_CREATED)


class LoadRunView(APIView):
    """One load test."""

    @extend_schema(responses=LoadRunSerializer)
    def get(self, request: Request, run_id: str) -> Response:
        """What it asked and what it measured."""
        return Response(LoadRunSerializer(selectors.run(actor_of(request), run_id)).data)
