"""REST door of the registry."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.api.idempotency import idempotent
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.registry import selectors, services
from apps.registry.api.serializers import (
    CardFormSerializer,
    CardSerializer,
    ModelDetailSerializer,
    ModelSerializer,
    VersionDetailSerializer,
    VersionSerializer,
)
from apps.registry.models import ModelCard, ModelVersion, RegisteredModel


class ModelsView(generics.ListAPIView):
    """Registered models. They are made through the MLflow endpoint."""

    serializer_class = ModelSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see; `search` looks in the names."""
        if getattr(self, "swagger_fake_view", False):
            return RegisteredModel.objects.none()
        return selectors.models(actor_of(self.request), search=self.request.query_params.get("search", ""))

    @extend_schema(parameters=[OpenApiParameter("search", str, description="Part of the name.")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List models, newest first."""
        return super().get(request, *args, **kwargs)


class ModelView(APIView):
    """One registered model."""

    @extend_schema(responses=ModelDetailSerializer)
    def get(self, request: Request, name: str) -> Response:
        """The model, with what its aliases pointed at and when."""
        return Response(ModelDetailSerializer(selectors.model(actor_of(request), name)).data)


class VersionsView(generics.ListAPIView):
    """Versions of one model."""

    serializer_class = VersionSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        if getattr(self, "swagger_fake_view", False):
            return ModelVersion.objects.none()
        return selectors.versions_of(actor_of(self.request), self.kwargs["name"])


def _version(request: Request, name: str, number: int) -> ModelVersion:
    return selectors.version(actor_of(request), name, number)


class VersionView(APIView):
    """One model version."""

    @extend_schema(responses=VersionDetailSerializer)
    def get(self, request: Request, name: str, number: int) -> Response:
        """Card, digest, requirements, parameters, metrics, signature, lineage, aliases, decisions."""
        return Response(VersionDetailSerializer(_version(request, name, number)).data)


class CardView(APIView):
    """The model card of a version."""

    @extend_schema(responses=CardSerializer)
    def get(self, request: Request, name: str, number: int) -> Response:
        """The card, with what it still lacks."""
        version = _version(request, name, number)
        return Response(CardSerializer(getattr(version, "card", None) or ModelCard(version=version)).data)

    @extend_schema(request=CardFormSerializer, responses=CardSerializer)
    @durable
    def put(self, request: Request, name: str, number: int) -> Response:
        """Save the given fields; those left out stay."""
        form = CardFormSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        version = _version(request, name, number)
        return Response(CardSerializer(services.save_card(actor=actor_of(request), version_id=version.id, **form.validated_data)).data)

    patch = put


class SyncView(APIView):
    """A fresh reading of a version from MLflow."""

    @extend_schema(request=None, responses={202: VersionSerializer})
    @idempotent
    def post(self, request: Request, name: str, number: int) -> Response:
        """Ask for it; control makes it soon."""
        row = services.request_sync(actor=actor_of(request), version_id=_version(request, name, number).id)
        return Response(VersionSerializer(row).data, status=status.HTTP_202_ACCEPTED)


class LineageView(APIView):
    """Where a version comes from."""

    @extend_schema(responses={200: dict})
    def get(self, request: Request, name: str, number: int) -> Response:
        """`nodes` (datasets, run, version) and `edges` (from, to, how)."""
        return Response(selectors.lineage(_version(request, name, number)))
