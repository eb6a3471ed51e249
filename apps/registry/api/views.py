"""REST door of the registry."""

from typing import Any

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.api.idempotency import idempotent
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import Filter, ListView, View, operation
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
from apps.registry.selectors.access import usecases_of
from apps.registry.selectors.listing import ModelList


class ModelsView(ListView):
    """Registered models. They are made through the MLflow endpoint."""

    lists = "List the registered models you may see, newest first."
    filters = {
        "search": Filter("Part of the name."),
        "governed": Filter("true: those that some use case uses. false: those that wait for a use case and an owner.", bool),
    }

    serializer_class = ModelSerializer

    def get_queryset(self) -> Any:
        """Those the caller may see; `search` looks in the names. Without it, rows that go out as they are."""
        if getattr(self, "swagger_fake_view", False):
            return RegisteredModel.objects.none()
        asked = self.request.query_params
        governed = {"true": True, "false": False}.get(asked.get("governed", ""))
        if search := asked.get("search", ""):
            # How selective a part of a name is decides how it is found: a statement that is kept would not know it.
            return selectors.models(actor_of(self.request), search=search, governed=governed)
        return ModelList(actor_of(self.request), governed=governed)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page."""
        found = self.get_queryset()
        if not isinstance(found, ModelList):
            return super().list(request, *args, **kwargs)
        return self.get_paginated_response(super().paginate_queryset(found))  # type: ignore[arg-type]

    def paginate_queryset(self, queryset: Any) -> Any:
        """One page, with the use cases of all its models in one query."""
        page = super().paginate_queryset(queryset)
        self.usecases = usecases_of(actor_of(self.request), [m.id for m in page or []])
        return page

    def get_serializer_context(self) -> dict[str, Any]:
        """Hands them to the serializer."""
        return {**super().get_serializer_context(), "usecases": getattr(self, "usecases", None)}


class ModelView(View):
    """One registered model."""

    @operation(responses=ModelDetailSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Read one registered model with what its aliases pointed at and when."""
        return Response(ModelDetailSerializer(selectors.model(actor_of(request), name), context={"request": request}).data)


class VersionsView(ListView):
    """Versions of one model."""

    lists = "List the versions of a registered model, highest number first."

    serializer_class = VersionSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        if getattr(self, "swagger_fake_view", False):
            return ModelVersion.objects.none()
        return selectors.versions_of(actor_of(self.request), self.kwargs["name"])


def _version(request: Request, name: str, number: int) -> ModelVersion:
    return selectors.version(actor_of(request), name, number)


class VersionView(View):
    """One model version."""

    @operation(responses=VersionDetailSerializer)
    def get(self, request: Request, name: str, number: int) -> Response:
        """Read one model version with its card, digest, figures, lineage, aliases and decisions."""
        return Response(VersionDetailSerializer(_version(request, name, number), context={"actor": actor_of(request)}).data)


class CardView(View):
    """The model card of a version."""

    @operation(responses=CardSerializer)
    def get(self, request: Request, name: str, number: int) -> Response:
        """Read the card of a model version with what it still lacks."""
        version = _version(request, name, number)
        return Response(CardSerializer(getattr(version, "card", None) or ModelCard(version=version)).data)

    @operation(request=CardFormSerializer, responses=CardSerializer, refuses=(409,))
    @durable
    def put(self, request: Request, name: str, number: int) -> Response:
        """Save the given fields of a model card; those left out stay."""
        return self._save(request, name, number)

    @operation(request=CardFormSerializer, responses=CardSerializer, refuses=(409,))
    @durable
    def patch(self, request: Request, name: str, number: int) -> Response:
        """Change the fields of a model card that are given."""
        return self._save(request, name, number)

    @staticmethod
    def _save(request: Request, name: str, number: int) -> Response:
        version = _version(request, name, number)
        saved = services.save_card(actor=actor_of(request), version_id=version.id, **given(CardFormSerializer, request))
        return Response(CardSerializer(saved).data)


class SyncView(View):
    """A fresh reading of a version from MLflow."""

    @operation(responses={202: VersionSerializer})
    @idempotent
    def post(self, request: Request, name: str, number: int) -> Response:
        """Ask for a fresh reading of a model version from MLflow; control makes it soon."""
        row = services.request_sync(actor=actor_of(request), version_id=_version(request, name, number).id)
        return Response(VersionSerializer(row).data, status=status.HTTP_202_ACCEPTED)


class LineageView(View):
    """Where a version comes from."""

    @operation(responses={200: dict})
    def get(self, request: Request, name: str, number: int) -> Response:
        """Read where a model version comes from.

        `nodes` (datasets, run, version) and `edges` (from, to, how).
        """
        return Response(selectors.lineage(_version(request, name, number)))
