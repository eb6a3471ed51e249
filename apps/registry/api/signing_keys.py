"""REST door of the keys that are trusted to sign models."""

from typing import Any

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import ListView, View, operation
from apps.registry import services
from apps.registry.models import SigningKey
from apps.registry.selectors import signing_keys as reads


class SigningKeySerializer(serializers.ModelSerializer):
    """A key or certificate whose signatures of models count, or counted."""

    added_by = serializers.EmailField(source="added_by.email", read_only=True, allow_null=True, default=None)

    class Meta:
        model = SigningKey
        fields = ["id", "name", "kind", "fingerprint", "about", "pem", "added_by", "created_at", "retired_at", "retired_because"]
        read_only_fields = ["id", "kind", "fingerprint", "about", "created_at", "retired_at", "retired_because"]
        # The service says which name or key is taken.
        validators: list[Any] = []


class RetireSerializer(serializers.Serializer):
    """Why a key is trusted no more."""

    because = serializers.CharField(max_length=1000, help_text="Why it is trusted no more.")


class SigningKeysView(ListView):
    """Trusted keys."""

    lists = "List the keys that are, or were, trusted to sign models."
    serializer_class = SigningKeySerializer

    def get_queryset(self) -> Any:
        """All of them."""
        return SigningKey.objects.none() if getattr(self, "swagger_fake_view", False) else reads.signing_keys(actor_of(self.request))

    @operation(request=SigningKeySerializer, responses={201: SigningKeySerializer})
    @durable
    def post(self, request: Request) -> Response:
        """Trust a public key or certificate to sign models (administrators)."""
        row = services.trust_key(actor=actor_of(request), **given(SigningKeySerializer, request))
        return Response(SigningKeySerializer(row).data, status=status.HTTP_201_CREATED)


class RetireView(View):
    """The end of the trust in a key."""

    @operation(request=RetireSerializer, responses=SigningKeySerializer)
    @durable
    def post(self, request: Request, key_id: str) -> Response:
        """Trust a key no more, also in what it has signed already (administrators)."""
        row = services.retire_key(actor=actor_of(request), key_id=key_id, **given(RetireSerializer, request))
        return Response(SigningKeySerializer(row).data)
