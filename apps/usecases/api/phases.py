"""REST door of rollout phases."""

from typing import Any

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.api.idempotency import idempotent
from apps.core.actor import Actor
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import View, listed, operation
from apps.usecases import phase_selectors, selectors, services
from apps.usecases.api.serializers import AccountField, PersonRefSerializer, ReasonSerializer


class PhaseCheckSerializer(serializers.Serializer):
    """A check by name, with its parameters."""

    check = serializers.CharField(max_length=100)

    def get_fields(self) -> dict[str, Any]:
        """With `with`, which is no name that Python takes."""
        return {**super().get_fields(), "with": serializers.DictField(required=False, default=dict)}


class PhaseSerializer(serializers.Serializer):
    """A phase of the plan. serving: the gateways serve those it covers; why_not_live: why the decision that opened it does not hold."""

    id = serializers.UUIDField(source="phase.id")
    position = serializers.IntegerField(source="number")
    name = serializers.CharField(source="phase.name")
    departments = serializers.ListField(child=serializers.CharField(), source="phase.departments")
    percent = serializers.IntegerField(source="phase.percent", allow_null=True, help_text="of the users in these departments; null: all")
    covers = serializers.CharField(source="cohort.words")
    planned_on = serializers.DateField(source="phase.planned_on")
    entry_criteria = serializers.CharField(source="phase.entry_criteria")
    checks = PhaseCheckSerializer(many=True, source="phase.checks")
    owner = PersonRefSerializer(source="phase.owner")
    state = serializers.ChoiceField(choices=("planned", "open", "closed", "ended"), help_text="ended: its decision ran out or was revoked")
    serving = serializers.BooleanField()
    decision_id = serializers.UUIDField(source="phase.decision_id", allow_null=True)
    gate_id = serializers.UUIDField(source="decision.gate_id", allow_null=True, default=None)
    why_not_live = serializers.CharField(source="why_not")
    opened_at = serializers.DateTimeField(source="phase.opened_at", allow_null=True)
    closed_at = serializers.DateTimeField(source="phase.closed_at", allow_null=True)
    close_reason = serializers.CharField(source="phase.close_reason")


class ChangePhaseSerializer(serializers.Serializer):
    """What changes of a phase: only what is given."""

    name = serializers.CharField(max_length=100)
    departments = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, help_text="names of departments or teams; none: all"
    )
    percent = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=100, help_text="of their users; null: all")
    planned_on = serializers.DateField()
    entry_criteria = serializers.CharField(max_length=5000, help_text="what has to be true before, in words")
    checks = PhaseCheckSerializer(many=True, required=False, help_text="checks its gate asks for beside those of the policy")
    owner = AccountField(required=False)
    position = serializers.IntegerField(required=False, min_value=1, help_text="its place in the plan")


class NewPhaseSerializer(ChangePhaseSerializer):
    """A phase at the end of the plan."""

    position = None  # type: ignore[assignment]
    closes_now = serializers.BooleanField(
        required=False, default=False, help_text="needed for the first phase in production: nobody is served until a phase is opened"
    )


def answer(actor: Actor, phase_id: Any, code: int = status.HTTP_200_OK) -> Response:
    """One phase as it now stands; a dropped one is gone."""
    return Response(PhaseSerializer(phase_selectors.row(actor, phase_id)).data, status=code)


class PhasesView(View):
    """The rollout plan of a use case."""

    @operation(responses=listed(PhaseSerializer))
    def get(self, request: Request, ref: str) -> Response:
        """List the rollout phases of a use case in order; without any, production serves everybody."""
        plan = phase_selectors.plan(selectors.usecase(actor_of(request), ref).id)
        return Response({"results": PhaseSerializer(plan, many=True).data, "next": None})

    @operation(request=NewPhaseSerializer, responses={201: PhaseSerializer})
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        """Plan a rollout phase at the end of the plan.

        From the first phase on, production serves only those whose phase is open.
        """
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        phase = services.plan_phase(actor=actor, usecase_id=usecase.id, **given(NewPhaseSerializer, request))
        return answer(actor, phase.id, status.HTTP_201_CREATED)


class PhaseView(View):
    """One rollout phase."""

    @operation(responses=PhaseSerializer)
    def get(self, request: Request, phase_id: Any) -> Response:
        """Read one rollout phase with the decision that opened it."""
        return answer(actor_of(request), phase_id)

    @operation(request=ChangePhaseSerializer, responses=PhaseSerializer)
    @durable
    def patch(self, request: Request, phase_id: Any) -> Response:
        """Change what is given of a rollout phase; who an open one covers stays."""
        actor = actor_of(request)
        services.change_phase(actor=actor, phase_id=phase_id, **given(ChangePhaseSerializer, request, partial=True))
        return answer(actor, phase_id)

    @operation(responses={204: None})
    @durable
    def delete(self, request: Request, phase_id: Any) -> Response:
        """Drop a rollout phase that was never opened."""
        services.drop_phase(actor=actor_of(request), phase_id=phase_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ClosePhaseView(View):
    """Rolling a phase back."""

    @operation(request=ReasonSerializer, responses=PhaseSerializer)
    @durable
    def post(self, request: Request, phase_id: Any) -> Response:
        """Close an open rollout phase; its decision is revoked.

        Those whom no other open phase covers are turned away within seconds.
        """
        actor = actor_of(request)
        services.close_phase(actor=actor, phase_id=phase_id, **given(ReasonSerializer, request))
        return answer(actor, phase_id)
