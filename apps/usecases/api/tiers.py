"""REST door of lower risk tiers: asked for with a reason, signed by a risk owner."""

from typing import Any

from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import ListView, View, listed, operation
from apps.usecases import doors, selectors, services
from apps.usecases.models import RiskTier, TierException


class TierExceptionSerializer(serializers.ModelSerializer):
    """A lower tier than exposure and purpose make, or than gates were passed under. It holds while `state` is signed."""

    asked_by = serializers.EmailField(source="asked_by.email")

    class Meta:
        model = TierException
        fields = [
            "id", "exposure", "purpose", "from_tier", "tier", "reason", "state", "asked_by", "asked_at", "printed_name", "method", "comment",
            "signed_at", "ended_at", "end_reason",
        ]  # fmt: skip


class WaitingTierSerializer(TierExceptionSerializer):
    """A lower tier that waits for a risk owner, with its use case."""

    usecase = serializers.CharField(source="usecase.slug", help_text="slug of the use case")
    usecase_name = serializers.CharField(source="usecase.name")

    class Meta(TierExceptionSerializer.Meta):
        fields = ["usecase", "usecase_name", *TierExceptionSerializer.Meta.fields]


class AskTierSerializer(serializers.Serializer):
    """The tier that is asked for, lower than now, and why less rigour is enough."""

    tier = serializers.ChoiceField(choices=RiskTier.choices)
    reason = serializers.CharField(max_length=5_000)


class SignTierSerializer(serializers.Serializer):
    """The risk owner's answer, with the password, which is verified in this very call. Refusing needs a comment."""

    grant = serializers.BooleanField()
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=5_000)
    password = serializers.CharField(max_length=200, write_only=True, trim_whitespace=False)
    code = serializers.CharField(
        max_length=40,
        write_only=True,
        required=False,
        default="",
        allow_blank=True,
        help_text="Of the signer's generator, where one is set up.",
    )


class TierExceptionsView(View):
    """Lower tiers of one use case."""

    @operation(responses=listed(TierExceptionSerializer))
    def get(self, request: Request, ref: str) -> Response:
        """List the lower risk tiers that were asked for, newest first, refused and ended ones too."""
        rows = selectors.tier_exceptions(selectors.usecase(actor_of(request), ref).id)
        return Response({"results": TierExceptionSerializer(rows, many=True).data, "next": None})

    @operation(request=AskTierSerializer, responses={201: TierExceptionSerializer}, refuses=(409,))
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Ask for a lower risk tier of a use case; it changes once a risk owner has signed."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        row = services.ask_tier(actor=actor, usecase_id=usecase.id, **given(AskTierSerializer, request))
        return Response(TierExceptionSerializer(row).data, status=status.HTTP_201_CREATED)


class WaitingTiersView(ListView):
    """Lower tiers that wait for the caller's signature."""

    lists = "List the lower risk tiers that wait for your signature as a risk owner, newest first."

    serializer_class = WaitingTierSerializer

    def get_queryset(self) -> Any:
        """Neither the caller's own use cases nor what they asked for."""
        return TierException.objects.none() if getattr(self, "swagger_fake_view", False) else selectors.tiers_to_sign(actor_of(self.request))


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class TierSignatureView(View):
    """The risk owner's answer."""

    @operation(request=SignTierSerializer, responses={201: TierExceptionSerializer}, refuses=(409, 429))
    def post(self, request: Request, exception_id: Any) -> Response:
        """Sign or refuse a lower risk tier as a risk owner, giving the password with it.

        Not repeatable: a request is answered once.
        """
        row = doors.sign_tier(actor=actor_of(request), exception_id=exception_id, **given(SignTierSerializer, request))
        return Response(TierExceptionSerializer(row).data, status=status.HTTP_201_CREATED)
