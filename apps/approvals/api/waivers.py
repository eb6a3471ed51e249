"""REST door of waivers."""

from typing import Any

from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.approvals import doors, selectors, services
from apps.approvals.models import Waiver
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import View, listed, operation


class WaiverSerializer(serializers.ModelSerializer):
    """A waiver: what it lets pass, until when, on whose word. It counts while `state` is signed and `until` is to come."""

    asked_by = serializers.EmailField(source="asked_by.email")

    class Meta:
        model = Waiver
        fields = [
            "id", "gate_id", "subject", "title", "reason", "until", "state", "asked_by", "asked_at", "printed_name", "method", "comment",
            "signed_at", "ended_at", "end_reason",
        ]  # fmt: skip


class AskWaiverSerializer(serializers.Serializer):
    """What is to be let pass (a check's or an item's name), why, and until when."""

    subject = serializers.CharField(max_length=100)
    reason = serializers.CharField(max_length=5_000)
    until = serializers.DateTimeField()


class SignWaiverSerializer(serializers.Serializer):
    """The risk owner's answer, with the password, which is verified in this very call. Refusing needs a comment."""

    grant = serializers.BooleanField()
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=5_000)
    password = serializers.CharField(max_length=200, write_only=True, trim_whitespace=False)
    code = serializers.CharField(
        max_length=40, write_only=True, required=False, default="", allow_blank=True, help_text="Of the signer's generator, where one is set up."
    )


class WaiversView(View):
    """Waivers of a gate."""

    @operation(responses=listed(WaiverSerializer))
    def get(self, request: Request, gate_id: Any) -> Response:
        """List the waivers of a gate, ended and refused ones too."""
        rows = selectors.gate(actor_of(request), gate_id).waivers.all()
        return Response({"results": WaiverSerializer(rows, many=True).data, "next": None})

    @operation(request=AskWaiverSerializer, responses={201: WaiverSerializer}, refuses=(409,))
    @durable
    def post(self, request: Request, gate_id: Any) -> Response:
        """Ask that a check or item of a gate is let pass for a time; it counts once a risk owner has signed."""
        row = services.ask_waiver(actor=actor_of(request), gate_id=gate_id, **given(AskWaiverSerializer, request))
        return Response(WaiverSerializer(row).data, status=status.HTTP_201_CREATED)


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class WaiverSignatureView(View):
    """The risk owner's answer."""

    @operation(request=SignWaiverSerializer, responses={201: WaiverSerializer}, refuses=(409, 429))
    def post(self, request: Request, waiver_id: Any) -> Response:
        """Sign or refuse a waiver as risk owner, giving the password with it.

        Not repeatable: a waiver is answered once.
        """
        row = doors.sign_waiver(actor=actor_of(request), waiver_id=waiver_id, **given(SignWaiverSerializer, request))
        return Response(WaiverSerializer(row).data, status=status.HTTP_201_CREATED)
