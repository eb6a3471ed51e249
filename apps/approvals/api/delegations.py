"""REST door of delegations."""

from typing import Any

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.approvals import selectors, services
from apps.approvals.models import Delegation
from apps.core.actor import Function
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import ListView, View, operation
from apps.usecases.api.serializers import AccountField


class DelegationSerializer(serializers.ModelSerializer):
    """Who signs for whom, in which function, from when until when."""

    delegator = serializers.EmailField(source="delegator.email")
    delegator_id = serializers.UUIDField()
    delegate = serializers.EmailField(source="delegate.email")

    class Meta:
        model = Delegation
        fields = [
            "id", "delegator", "delegator_id", "delegate", "function", "starts_at", "ends_at", "reason", "made_by", "ended_at", "ended_by",
        ]  # fmt: skip


class NewDelegationSerializer(serializers.Serializer):
    """An absence. Without `delegator` the caller delegates; administrators may name somebody."""

    delegate = AccountField()
    function = serializers.ChoiceField(choices=[f.value for f in Function])
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    reason = serializers.CharField(max_length=2_000)
    delegator = AccountField(required=False)


class DelegationsView(ListView):
    """Delegations the caller gave or took."""

    lists = "List the delegations you gave or took, newest first."

    serializer_class = DelegationSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        return Delegation.objects.none() if getattr(self, "swagger_fake_view", False) else selectors.delegations(actor_of(self.request))

    @operation(request=NewDelegationSerializer, responses={201: DelegationSerializer}, refuses=(404, 409))
    @durable
    def post(self, request: Request) -> Response:
        """Delegate your signature in one function for an absence of at most 90 days.

        What is delegated is not handed on. Neither of the two may be excluded from a gate by four-eyes.
        """
        row = services.delegate(actor=actor_of(request), **given(NewDelegationSerializer, request))
        return Response(DelegationSerializer(row).data, status=status.HTTP_201_CREATED)


class DelegationView(View):
    """One delegation."""

    @operation(responses=DelegationSerializer, refuses=(404,))
    @durable
    def delete(self, request: Request, delegation_id: Any) -> Response:
        """End a delegation now; signatures given by it stay."""
        return Response(DelegationSerializer(services.end_delegation(actor=actor_of(request), delegation_id=delegation_id)).data)

