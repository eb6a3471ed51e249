"""REST door of deployments."""

from typing import Any

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.api.idempotency import idempotent
from apps.core.actor import Actor
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import ENDPOINT, USECASE, Filter, ListView, View, listed, operation
from apps.deployments import selectors, services
from apps.deployments.api.serializers import (
    DeploymentDetailSerializer,
    DeploymentSerializer,
    EndpointDetailSerializer,
    EndpointSerializer,
    GroupSerializer,
    HostSerializer,
    IssuedKeySerializer,
    KeySerializer,
    NewDeploymentSerializer,
    NewEndpointSerializer,
    NewHostSerializer,
    NewKeySerializer,
    PublicKeySerializer,
    RehearsalSerializer,
    RollBackSerializer,
    RolloutSerializer,
    StopSerializer,
)
from apps.deployments.models import Deployment, Endpoint, Host, Rollout
from apps.registry import selectors as registry
from apps.usecases import selectors as usecases


def endpoint_answer(actor: Actor, reference: Any, code: int = status.HTTP_200_OK) -> Response:
    """One endpoint as it now stands."""
    found = selectors.endpoint(actor, reference)
    return Response(EndpointDetailSerializer(found, context={"actor": actor}).data, status=code)


def rollout_answer(actor: Actor, rollout_id: Any, code: int = status.HTTP_200_OK) -> Response:
    """One rollout as it now stands."""
    return Response(RolloutSerializer(selectors.rollout(actor, rollout_id)).data, status=code)


class PublicKeysView(View):
    """Public keys, to be pinned."""

    @operation(responses=listed(PublicKeySerializer))
    def get(self, request: Request) -> Response:
        """List the public keys of orders, of the seal and of the agents.

        Pin what you read here once: later keys are believed only because they are listed here, or were handed to you otherwise.
        """
        return Response({"results": PublicKeySerializer(selectors.public_keys(), many=True).data, "next": None})


class HostsView(ListView):
    """Serving hosts."""

    lists = "List the serving hosts, newest first."

    serializer_class = HostSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see."""
        if getattr(self, "swagger_fake_view", False):
            return Host.objects.none()
        return selectors.hosts(actor_of(self.request))

    @operation(request=NewHostSerializer, responses={201: HostSerializer}, refuses=(409,))
    @durable
    def post(self, request: Request) -> Response:
        """Register a serving host with its agent's public key (administrators)."""
        host = services.register_host(actor=actor_of(request), **given(NewHostSerializer, request))
        return Response(HostSerializer(host).data, status=status.HTTP_201_CREATED)


class EndpointsView(ListView):
    """Endpoints."""

    lists = "List the endpoints you may see, newest first."
    filters = {"usecase": USECASE, "environment": Filter("Only those of this environment.", choices=("pilot", "production"))}

    serializer_class = EndpointSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?usecase=` and `?environment=`."""
        if getattr(self, "swagger_fake_view", False):
            return Endpoint.objects.none()
        actor, params = actor_of(self.request), self.request.query_params
        usecase = usecases.usecase(actor, params["usecase"]).id if params.get("usecase") else None
        rows = selectors.endpoints(actor, usecase_id=usecase)
        return rows.filter(environment=params["environment"]) if params.get("environment") else rows

    @operation(request=NewEndpointSerializer, responses={201: EndpointDetailSerializer}, refuses=(404,))
    @idempotent
    def post(self, request: Request) -> Response:
        """Create an endpoint of a use case."""
        actor, data = actor_of(request), given(NewEndpointSerializer, request)
        usecase = usecases.usecase(actor, data.pop("usecase"))
        made = services.create_endpoint(actor=actor, usecase_id=usecase.id, **data)
        return endpoint_answer(actor, made.id, status.HTTP_201_CREATED)


class EndpointView(View):
    """One endpoint."""

    @operation(responses=EndpointDetailSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Read one endpoint with its deployments, keys, rollouts and rehearsals."""
        return endpoint_answer(actor_of(request), reference)


class EndpointKeysView(View):
    """Callers' keys of an endpoint."""

    @operation(request=NewKeySerializer, responses={201: IssuedKeySerializer})
    @durable
    def post(self, request: Request, reference: str) -> Response:
        """Issue a caller's key of an endpoint.

        Its secret is in this answer only.
        """
        actor = actor_of(request)
        endpoint = selectors.endpoint(actor, reference)
        key, secret = services.issue_key(actor=actor, endpoint_id=endpoint.id, **given(NewKeySerializer, request))
        answer = Response(KeySerializer(key).data | {"key": secret}, status=status.HTTP_201_CREATED)
        answer["Cache-Control"] = "no-store"
        return answer


class EndpointKeyView(View):
    """One caller's key."""

    @operation(responses={200: KeySerializer})
    @durable
    def delete(self, request: Request, reference: str, key_id: str) -> Response:
        """Revoke a caller's key of an endpoint."""
        selectors.endpoint(actor_of(request), reference)
        return Response(KeySerializer(services.revoke_key(actor=actor_of(request), key_id=key_id)).data)

    @operation(request=GroupSerializer, responses={200: KeySerializer})
    @durable
    def patch(self, request: Request, reference: str, key_id: str) -> Response:
        """Say for which department and team a caller calls.

        Rollout phases go by it, within seconds.
        """
        selectors.endpoint(actor_of(request), reference)
        key = services.assign_key(actor=actor_of(request), key_id=key_id, **given(GroupSerializer, request))
        return Response(KeySerializer(key).data)


class RehearsalView(View):
    """Rehearsing a rollback."""

    @operation(responses={202: RehearsalSerializer})
    @idempotent
    def post(self, request: Request, reference: str) -> Response:
        """Rehearse a rollback on a pilot endpoint.

        Look at the endpoint's `rehearsals` for its result.
        """
        actor = actor_of(request)
        rehearsal = services.rehearse_rollback(actor=actor, endpoint_id=selectors.endpoint(actor, reference).id)
        return Response(RehearsalSerializer(rehearsal).data, status=status.HTTP_202_ACCEPTED)


class EndpointRollBackView(View):
    """Going back on an endpoint."""

    @operation(request=RollBackSerializer, responses=RolloutSerializer)
    @idempotent
    def post(self, request: Request, reference: str) -> Response:
        """Give all traffic of an endpoint back to the version before."""
        actor = actor_of(request)
        endpoint = selectors.endpoint(actor, reference)
        done = services.roll_back(actor=actor, endpoint_id=endpoint.id, **given(RollBackSerializer, request))
        return rollout_answer(actor, done.id)


class DeploymentsView(ListView):
    """Deployments."""

    lists = "List the deployments you may see, newest first."
    filters = {"endpoint": ENDPOINT}

    serializer_class = DeploymentSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?endpoint=`."""
        if getattr(self, "swagger_fake_view", False):
            return Deployment.objects.none()
        actor, reference = actor_of(self.request), self.request.query_params.get("endpoint")
        return selectors.deployments(actor, endpoint_id=selectors.endpoint(actor, reference).id if reference else None)

    @operation(request=NewDeploymentSerializer, responses={201: RolloutSerializer}, refuses=(404,))
    @idempotent
    def post(self, request: Request) -> Response:
        """Ask that a model version serve an endpoint.

        The answer is the rollout, with the new deployment in it.
        """
        actor, data = actor_of(request), given(NewDeploymentSerializer, request)
        name, number, version_id = data.pop("model", None), data.pop("version", None), data.pop("model_version", None)
        version = registry.version_by_id(actor, version_id) if version_id else registry.version(actor, str(name), int(number))
        endpoint = selectors.endpoint(actor, data.pop("endpoint"))
        rollout = services.request_deployment(actor=actor, endpoint_id=endpoint.id, model_version_id=version.id, **data)
        return rollout_answer(actor, rollout.id, status.HTTP_201_CREATED)


class DeploymentView(View):
    """One deployment."""

    @operation(responses=DeploymentDetailSerializer)
    def get(self, request: Request, deployment_id: str) -> Response:
        """Read one deployment with the orders given for it."""
        return Response(DeploymentDetailSerializer(selectors.deployment(actor_of(request), deployment_id)).data)


class StopView(View):
    """Stopping a deployment."""

    @operation(request=StopSerializer, responses=DeploymentSerializer)
    @idempotent
    def post(self, request: Request, deployment_id: str) -> Response:
        """Ask that a deployment stop."""
        actor = actor_of(request)
        services.stop_deployment(actor=actor, deployment_id=deployment_id, **given(StopSerializer, request))
        return Response(DeploymentSerializer(selectors.deployment(actor, deployment_id)).data)


class RolloutsView(ListView):
    """Rollouts."""

    lists = "List the rollouts you may see, newest first."
    filters = {"endpoint": ENDPOINT}

    serializer_class = RolloutSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see, of `?endpoint=`."""
        if getattr(self, "swagger_fake_view", False):
            return Rollout.objects.none()
        actor, reference = actor_of(self.request), self.request.query_params.get("endpoint")
        rows = selectors.rollouts(actor, endpoint_id=selectors.endpoint(actor, reference).id if reference else None)
        return rows.select_related("to_deployment__host", "to_deployment__endpoint__usecase", "endpoint", "from_deployment")


class RolloutView(View):
    """One rollout."""

    @operation(responses=RolloutSerializer)
    def get(self, request: Request, rollout_id: str) -> Response:
        """Read one rollout with its steps as they were taken."""
        return rollout_answer(actor_of(request), rollout_id)


class RolloutRollBackView(View):
    """Taking a rollout back."""

    @operation(request=RollBackSerializer, responses=RolloutSerializer)
    @idempotent
    def post(self, request: Request, rollout_id: str) -> Response:
        """Take a rollout back: all traffic goes to the version before."""
        actor = actor_of(request)
        services.roll_back(actor=actor, rollout_id=rollout_id, **given(RollBackSerializer, request))
        return rollout_answer(actor, rollout_id)
