"""REST door of the view as of a moment."""

from typing import Any

from rest_framework import serializers

from apps.core.api import actor_of
from apps.core.rest import USECASE, Filter, ListView
from apps.dashboard import selectors_asof as asof
from apps.deployments.models import Endpoint


class SignedThenSerializer(serializers.Serializer):
    """A signature that was valid then."""

    name = serializers.CharField()
    function = serializers.CharField()
    meaning = serializers.CharField()
    signed_at = serializers.DateTimeField()
    on_behalf_of = serializers.CharField(allow_blank=True)
    method = serializers.CharField()
    evidence_digest = serializers.CharField()


class DecidedThenSerializer(serializers.Serializer):
    """The decision an engine had been started under; `why_not` is empty when it held then."""

    id = serializers.UUIDField()
    label = serializers.CharField()  # type: ignore[assignment]
    kind = serializers.CharField()
    issued_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    why_not = serializers.CharField(allow_blank=True)
    gate_id = serializers.UUIDField(allow_null=True)
    policy = serializers.CharField(allow_blank=True)
    policy_digest = serializers.CharField(allow_blank=True)
    evidence_digest = serializers.CharField()
    frozen_at = serializers.DateTimeField(allow_null=True)
    signatures = SignedThenSerializer(many=True)


class ShareThenSerializer(serializers.Serializer):
    """A model version behind the endpoint; `weight` is percent of its traffic."""

    deployment_id = serializers.UUIDField()
    model_version = serializers.CharField()
    artifact_digest = serializers.CharField()
    weight = serializers.IntegerField()
    role = serializers.CharField(allow_blank=True)
    host = serializers.CharField()
    decision = DecidedThenSerializer(allow_null=True)


class RoutedThenSerializer(serializers.Serializer):
    """Shares of one version of the routes, and the event of the trail that says so."""

    routing_version = serializers.IntegerField()
    published_at = serializers.DateTimeField()
    taken_up_at = serializers.DateTimeField(allow_null=True)
    event_id = serializers.UUIDField()
    routes = ShareThenSerializer(many=True)


class PhaseThenSerializer(serializers.Serializer):
    """A rollout phase then: `state` is planned, open, closed, or ended when the decision it was open by had run out."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    covers = serializers.CharField(help_text="who it was for, in words")
    departments = serializers.ListField(child=serializers.CharField())
    percent = serializers.IntegerField(allow_null=True)
    planned_on = serializers.DateField()
    state = serializers.ChoiceField(("planned", "open", "closed", "ended"))
    since = serializers.DateTimeField(allow_null=True)
    event_id = serializers.UUIDField(allow_null=True)
    decision = DecidedThenSerializer(allow_null=True)


class ThenSerializer(serializers.Serializer):
    """An endpoint then. `live`: what gateways routed by; `coming`: what was published and not taken up yet."""

    at = serializers.DateTimeField()
    endpoint = serializers.CharField()
    endpoint_id = serializers.UUIDField()
    name = serializers.CharField()
    environment = serializers.CharField()
    usecase = serializers.CharField()
    usecase_id = serializers.UUIDField()
    usecase_name = serializers.CharField()
    stage = serializers.CharField()
    live = RoutedThenSerializer(allow_null=True)
    coming = RoutedThenSerializer(allow_null=True)
    phases = PhaseThenSerializer(many=True, help_text="of a production endpoint; empty without a rollout plan then")

    def to_representation(self, instance: asof.Then) -> dict[str, Any]:
        """As recorded: moments are texts already."""
        return instance.as_dict()


class AsOfView(ListView):
    """What was live where."""

    lists = "List the endpoints you may see as they were at a moment: versions, shares, decisions, signatures."
    filters = {"at": Filter("The moment (RFC 3339) or date, UTC unless it says otherwise; now without it."), "usecase": USECASE}

    serializer_class = ThenSerializer

    def get_queryset(self) -> Any:
        """Endpoints that were there."""
        if getattr(self, "swagger_fake_view", False):
            return Endpoint.objects.none()
        query = self.request.query_params
        self.moment = asof.moment_asked(query.get("at", ""))
        return asof.endpoints(actor_of(self.request), at=self.moment, usecase=query.get("usecase", ""))

    def paginate_queryset(self, queryset: Any) -> Any:
        """A page of them, told together."""
        return asof.at_moment(super().paginate_queryset(queryset) or [], self.moment)
