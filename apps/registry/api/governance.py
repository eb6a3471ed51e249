"""REST door of owners and findings."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.selectors import user_by_email
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.errors import Invalid
from apps.core.forms import given
from apps.core.rest import Filter, ListView, View, operation
from apps.registry import selectors, services
from apps.registry.api.serializers import ModelDetailSerializer
from apps.registry.models import Finding
from apps.registry.rules.findings import KINDS


class OwnerFormSerializer(serializers.Serializer):
    """Who is to own the model."""

    owner = serializers.EmailField(help_text="Address of an active ML engineer.")


class OwnerView(View):
    """The owner of a registered model."""

    @operation(request=OwnerFormSerializer, responses=ModelDetailSerializer)
    @durable
    def put(self, request: Request, name: str) -> Response:
        """Give a registered model an owner.

        For a model that is nobody's, any ML engineer may.
        """
        actor = actor_of(request)
        model = selectors.model(actor, name)
        person = user_by_email(given(OwnerFormSerializer, request)["owner"])
        if person is None:
            raise Invalid("owner: there is no account with this address.", errors={"owner": ["Unknown."]})
        services.assign_owner(actor=actor, name=model.name, owner=person)
        return Response(ModelDetailSerializer(selectors.model(actor, model.name), context={"request": request}).data)


class FindingSerializer(serializers.ModelSerializer):
    """Something that is not what was frozen or decided."""

    kind = serializers.CharField(read_only=True, help_text=" ".join(f"{k}: {v}." for k, v in KINDS.items()))
    says = serializers.CharField(
        read_only=True, help_text="What a finding of its kind says: that something differs, or that it cannot be compared."
    )
    model = serializers.CharField(source="model.name", read_only=True)
    version = serializers.IntegerField(source="version.version", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Finding
        fields = [
            "id",
            "kind",
            "says",
            "model",
            "version",
            "detail",
            "expected",
            "found",
            "actor_label",
            "created_at",
            "closed_at",
            "closed_because",
        ]


class FindingsView(ListView):
    """Findings."""

    lists = "List what was found to differ from what was frozen or decided, newest first."
    filters = {
        "open": Filter("true: only those that are not mended.", bool),
        "model": Filter("Name of a registered model."),
    }
    serializer_class = FindingSerializer

    def get_queryset(self) -> Any:
        """Those about models the caller may see."""
        if getattr(self, "swagger_fake_view", False):
            return Finding.objects.none()
        asked = self.request.query_params
        return selectors.findings(actor_of(self.request), open_only=asked.get("open") == "true", model=asked.get("model", ""))


class FindingView(View):
    """One finding."""

    @operation(responses=FindingSerializer)
    def get(self, request: Request, finding_id: str) -> Response:
        """Read one finding."""
        return Response(FindingSerializer(selectors.findings(actor_of(request)).one("finding", id=finding_id)).data)  # type: ignore[attr-defined]
