"""REST door of load tests."""

from typing import Any
from uuid import UUID

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.api.idempotency import idempotent
from apps.core.api import actor_of
from apps.core.forms import given
from apps.core.rest import USECASE, Filter, ListView, View, operation
from apps.loadtests import selectors, services
from apps.loadtests.api.serializers import LoadRunSerializer, NewLoadRunSerializer
from apps.loadtests.models import LoadRun
from apps.usecases import selectors as usecases


class LoadRunsView(ListView):
    """Load tests."""

    lists = "List the load tests you may see, newest first."
    filters = {"usecase": USECASE, "deployment": Filter("Id of a deployment.", UUID)}

    serializer_class = LoadRunSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?usecase=` and `?deployment=`."""
        if getattr(self, "swagger_fake_view", False):
            return LoadRun.objects.none()
        actor, params = actor_of(self.request), self.request.query_params
        usecase = usecases.usecase(actor, params["usecase"]).id if params.get("usecase") else None
        return selectors.runs(actor, usecase_id=usecase, deployment_id=params.get("deployment") or None)

    @operation(request=NewLoadRunSerializer, responses={201: LoadRunSerializer}, refuses=(404,))
    @idempotent
    def post(self, request: Request) -> Response:
        """Ask for a load test of a deployment.

        Look at it until its state is done or failed.
        """
        data, actor = given(NewLoadRunSerializer, request), actor_of(request)
        run = services.request_run(actor=actor, deployment_id=data.pop("deployment"), **data)
        return Response(LoadRunSerializer(selectors.run(actor, run.id)).data, status=status.HTTP_201_CREATED)


class LoadRunView(View):
    """One load test."""

    @operation(responses=LoadRunSerializer)
    def get(self, request: Request, run_id: str) -> Response:
        """Read what one load test asked and what it measured."""
        return Response(LoadRunSerializer(selectors.run(actor_of(request), run_id)).data)
