"""REST door of deployments."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.api.idempotency import idempotent
from apps.core.actor import Actor
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.deployments import selectors, services
from apps.deployments.api.serializers import (
    DeploymentDetailSerializer,
    DeploymentSerializer,
    EndpointDetailSerializer,
    EndpointSerializer,
    HostSerializer,
    IssuedKeySerializer,
    KeySerializer,
    NewDeploymentSerializer,
    NewEndpointSerializer,
    NewHostSerializer,
    NewKeySerializer,
    RehearsalSerializer,
    RollBackSerializer,
    RolloutSerializer,
    StopSerializer,
)
from apps.deployments.models import Deployment, Endpoint, Host, Rollout
from apps.registry import selectors as registry
from apps.usecases import selectors as usecases


def given(form: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The validated body; raises Invalid naming each wrong field."""
    filled = form(data=request.data)
    filled.is_valid(raise_exception=True)
    return filled.validated_data


def endpoint_answer(actor: Actor, reference: Any, code: int = status.HTTP_200_OK) -> Response:
    """One endpoint as it now stands."""
    found = selectors.endpoint(actor, reference)
    return Response(EndpointDetailSerializer(found, context={"actor": actor}).data, status=code)


def rollout_answer(actor: Actor, rollout_id: Any, code: int = status.HTTP_200_OK) -> Response:
    """One rollout as it now stands."""
    return Response(RolloutSerializer(selectors.rollout(actor, rollout_id)).data, status=code)


class HostsView(generics.ListAPIView):
    """Serving hosts."""

    serializer_class = HostSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see."""
        if getattr(self, "swagger_fake_view", False):
            return Host.objects.none()
        return selectors.hosts(actor_of(self.request))

    @extend_schema(request=NewHostSerializer, responses={201: HostSerializer})
    @durable
    def post(self, request: Request) -> Response:
        """Register a host and its agent's public key (administrators)."""
        host = services.register_host(actor=actor_of(request), **given(NewHostSerializer, request))
        return Response(HostSerializer(host).data, status=status.HTTP_201_CREATED)


class EndpointsView(generics.ListAPIView):
    """Endpoints."""

    serializer_class = EndpointSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?usecase=` and `?environment=`."""
        if getattr(self, "swagger_fake_view", False):
            return Endpoint.objects.none()
        actor, params = actor_of(self.request), self.request.query_params
        usecase = usecases.usecase(actor, params["usecase"]).id if params.get("usecase") else None
        rows = selectors.endpoints(actor, usecase_id=usecase)
        return rows.filter(environment=params["environment"]) if params.get("environment") else rows

    @extend_schema(parameters=[OpenApiParameter("usecase", str), OpenApiParameter("environment", str)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=NewEndpointSerializer, responses={201: EndpointDetailSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Create an endpoint of a use case."""
        actor, data = actor_of(request), given(NewEndpointSerializer, request)
        usecase = usecases.usecase(actor, data.pop("usecase"))
        made = services.create_endpoint(actor=actor, usecase_id=usecase.id, **data)
        return endpoint_answer(actor, made.id, status.HTTP_201_CREATED)


class EndpointView(APIView):
    """One endpoint."""

    @extend_schema(responses=EndpointDetailSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """With its deployments, keys, rollouts and rehearsals."""
        return endpoint_answer(actor_of(request), reference)


class EndpointKeysView(APIView):
    """Callers' keys of an endpoint."""

    @extend_schema(request=NewKeySerializer, responses={201: IssuedKeySerializer})
    @durable
    def post(self, request: Request, reference: str) -> Response:
        """Issue a key; its secret is in this answer only."""
        actor = actor_of(request)
        endpoint = selectors.endpoint(actor, reference)
        key, secret = services.issue_key(actor=actor, endpoint_id=endpoint.id, **given(NewKeySerializer, request))
        answer = Response(KeySerializer(key).data | {"key": secret}, status=status.HTTP_201_CREATED)
        answer["Cache-Control"] = "no-store"
        return answer


class EndpointKeyView(APIView):
    """One caller's key."""

    @extend_schema(request=None, responses=KeySerializer)
    @durable
    def delete(self, request: Request, reference: str, key_id: str) -> Response:
        """Revoke it."""
        selectors.endpoint(actor_of(request), reference)
        return Response(KeySerializer(services.revoke_key(actor=actor_of(request), key_id=key_id)).data)


class RehearsalView(APIView):
    """Rehearsing a rollback."""

    @extend_schema(request=None, responses={202: RehearsalSerializer})
    @idempotent
    def post(self, request: Request, reference: str) -> Response:
        """Begin one on a pilot endpoint; look at the endpoint's `rehearsals` for its result."""
        actor = actor_of(request)
        rehearsal = services.rehearse_rollback(actor=actor, endpoint_id=selectors.endpoint(actor, reference).id)
        return Response(RehearsalSerializer(rehearsal).data, status=status.HTTP_202_ACCEPTED)


class EndpointRollBackView(APIView):
    """Going back on an endpoint."""

    @extend_schema(request=RollBackSerializer, responses=RolloutSerializer)
    @idempotent
    def post(self, request: Request, reference: str) -> Response:
        """Give all traffic back to the version before."""
        actor = actor_of(request)
        endpoint = selectors.endpoint(actor, reference)
        done = services.roll_back(actor=actor, endpoint_id=endpoint.id, **given(RollBackSerializer, request))
        return rollout_answer(actor, done.id)


class DeploymentsView(generics.ListAPIView):
    """Deployments."""

    serializer_class = DeploymentSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?endpoint=`."""
        if getattr(self, "swagger_fake_view", False):
            return Deployment.objects.none()
        actor, reference = actor_of(self.request), self.request.query_params.get("endpoint")
        return selectors.deployments(actor, endpoint_id=selectors.endpoint(actor, reference).id if reference else None)

    @extend_schema(parameters=[OpenApiParameter("endpoint", str, description="id or slug")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=NewDeploymentSerializer, responses={201: RolloutSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Ask that a version serve an endpoint; the answer is the rollout, with the new deployment in it."""
        actor, data = actor_of(request), given(NewDeploymentSerializer, request)
        name, number, version_id = data.pop("model", None), data.pop("version", None), data.pop("model_version", None)
        version = registry.version_by_id(actor, version_id) if version_id else registry.version(actor, str(name), int(number))
        endpoint = selectors.endpoint(actor, data.pop("endpoint"))
        rollout = services.request_deployment(actor=actor, endpoint_id=endpoint.id, model_version_id=version.id, **data)
        return rollout_answer(actor, rollout.id, status.HTTP_201_CREATED)


class DeploymentView(APIView):
    """One deployment."""

    @extend_schema(responses=DeploymentDetailSerializer)
    def get(self, request: Request, deployment_id: str) -> Response:
        """With the orders given for it."""
        return Response(DeploymentDetailSerializer(selectors.deployment(actor_of(request), deployment_id)).data)


class StopView(APIView):
    """Stopping a deployment."""

    @extend_schema(request=StopSerializer, responses=DeploymentSerializer)
    @idempotent
    def post(self, request: Request, deployment_id: str) -> Response:
        """Ask that it stop."""
        actor = actor_of(request)
        services.stop_deployment(actor=actor, deployment_id=deployment_id, **given(StopSerializer, request))
        return Response(DeploymentSerializer(selectors.deployment(actor, deployment_id)).data)


class RolloutsView(generics.ListAPIView):
    """Rollouts."""

    serializer_class = RolloutSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?endpoint=`."""
        if getattr(self, "swagger_fake_view", False):
            return Rollout.objects.none()
        actor, reference = actor_of(self.request), self.request.query_params.get("endpoint")
        rows = selectors.rollouts(actor, endpoint_id=selectors.endpoint(actor, reference).id if reference else None)
        return rows.select_related("to_deployment__host", "to_deployment__endpoint__usecase", "endpoint", "from_deployment")

    @extend_schema(parameters=[OpenApiParameter("endpoint", str, description="id or slug")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().get(request, *args, **kwargs)


class RolloutView(APIView):
    """One rollout."""

    @extend_schema(responses=RolloutSerializer)
    def get(self, request: Request, rollout_id: str) -> Response:
        """With its steps as they were taken."""
        return rollout_answer(actor_of(request), rollout_id)


class RolloutRollBackView(APIView):
    """Taking a rollout back."""

    @extend_schema(request=RollBackSerializer, responses=RolloutSerializer)
    @idempotent
    def post(self, request: Request, rollout_id: str) -> Response:
        """Give all traffic back to the version before."""
        actor = actor_of(request)
        services.roll_back(actor=actor, rollout_id=rollout_id, **given(RollBackSerializer, request))
        return rollout_answer(actor, rollout_id)
