"""REST door of gates, policies and decisions."""

from typing import Any

from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from drf_spectacular.types import OpenApiTypes
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.api.idempotency import idempotent
from apps.approvals import documents, doors, selectors, services
from apps.approvals.api.serializers import (
    AnswerSerializer,
    AttestationSerializer,
    DecisionSerializer,
    GatePageSerializer,
    GateSerializer,
    OpenGateSerializer,
    RevokeSerializer,
    SignatureSerializer,
    SignSerializer,
    WithdrawSerializer,
    page_json,
)
from apps.approvals.models import Gate
from apps.core.actor import Actor
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import USECASE, Filter, ListView, View, listed, operation
from apps.decisions.models import Decision
from apps.registry import selectors as registry
from apps.usecases import selectors as usecases


def page(actor: Actor, gate_id: Any, code: int = status.HTTP_200_OK) -> Response:
    """One gate as it now stands for the caller."""
    return Response(page_json(selectors.gate_page(actor, gate_id)), status=code)


def version_id(actor: Actor, ref: str | None) -> Any:
    """The id of a model version given as an id or as `name/3`."""
    if not ref:
        return None
    name, slash, number = ref.rpartition("/")
    if slash and number.isdecimal():
        return registry.version(actor, name, int(number)).id
    return registry.version_by_id(actor, ref).id


class GatesView(ListView):
    """Gates I may see, and beginning one."""

    lists = "List the gates you may see, newest first."
    filters = {
        "usecase": USECASE,
        "state": Filter("Only those in this state.", choices=tuple(Gate.State.values)),
        "waiting_on": Filter("me: only those that wait for my signature.", choices=("me",)),
    }

    serializer_class = GateSerializer

    def get_queryset(self) -> Any:
        """Filtered by `?usecase=`, `?state=`, `?waiting_on=me`."""
        if getattr(self, "swagger_fake_view", False):
            return Gate.objects.none()
        actor, query = actor_of(self.request), self.request.query_params
        state, waiting = query.get("state", ""), query.get("waiting_on", "")
        usecase = usecases.usecase(actor, query["usecase"]).id if query.get("usecase") else None
        return selectors.gates(actor, usecase_id=usecase, state=state, waiting=waiting == "me")

    @operation(request=OpenGateSerializer, responses={201: GatePageSerializer}, refuses=(404,))
    @idempotent
    def post(self, request: Request) -> Response:
        """Begin a gate of a use case, as a draft."""
        actor, data = actor_of(request), given(OpenGateSerializer, request)
        gate = services.open_gate(
            actor=actor, usecase_id=usecases.usecase(actor, data["usecase"]).id, to_stage=data["to_stage"],
            model_version_id=version_id(actor, data.get("model_version")), note=data["note"], phase_id=data["phase"],
        )  # fmt: skip
        return page(actor, gate.id, status.HTTP_201_CREATED)


class GateView(View):
    """One gate."""

    @operation(responses=GatePageSerializer)
    def get(self, request: Request, gate_id: Any) -> Response:
        """Read one gate with its evidence, its signatures and what you may do.

        Also the signatures that are wanted, and what changed since the evidence was frozen.
        """
        return page(actor_of(request), gate_id)


class LookView(View):
    """Having seen a gate."""

    @operation(request=None, responses=GatePageSerializer)
    @durable
    def post(self, request: Request, gate_id: Any) -> Response:
        """Read one gate as its page does, and remember that you have seen it.

        `news` tells what is new since your last look; the next look is told against this one.
        """
        return Response(page_json(services.look(actor=actor_of(request), gate_id=gate_id)))


class AttestationsView(View):
    """Answers to attested items."""

    @operation(responses=listed(AttestationSerializer))
    def get(self, request: Request, gate_id: Any) -> Response:
        """List the answers to the attested items of a gate, replaced ones too."""
        rows = selectors.gate(actor_of(request), gate_id).attestations.all()
        return Response({"results": AttestationSerializer(rows, many=True).data, "next": None})

    @operation(request=AnswerSerializer, responses={201: AttestationSerializer}, refuses=(409,))
    @durable
    def post(self, request: Request, gate_id: Any) -> Response:
        """Answer one attested item of a draft gate."""
        row = services.attest(actor=actor_of(request), gate_id=gate_id, **given(AnswerSerializer, request))
        return Response(AttestationSerializer(row).data, status=status.HTTP_201_CREATED)


class RequestView(View):
    """Ask for signatures."""

    @operation(responses=GatePageSerializer)
    @idempotent
    def post(self, request: Request, gate_id: Any) -> Response:
        """Freeze the evidence of a gate and ask for signatures.

        On an open gate whose evidence changed, freeze it anew.
        """
        actor = actor_of(request)
        gate = services.request_gate(actor=actor, gate_id=gate_id)
        return page(actor, gate.id)


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class SignaturesView(View):
    """Signatures of a gate."""

    @operation(responses=listed(SignatureSerializer))
    def get(self, request: Request, gate_id: Any) -> Response:
        """List the signatures of a gate in order, void ones too."""
        rows = selectors.gate(actor_of(request), gate_id).signatures.all()
        return Response({"results": SignatureSerializer(rows, many=True).data, "next": None})

    @operation(request=SignSerializer, responses={201: GatePageSerializer}, refuses=(409, 429))
    def post(self, request: Request, gate_id: Any) -> Response:
        """Sign a gate or refuse it, giving the password with the signature.

        Not repeatable: one person signs a gate once.
        """
        actor = actor_of(request)
        doors.sign(actor=actor, gate_id=gate_id, **given(SignSerializer, request))
        return page(actor, gate_id, status.HTTP_201_CREATED)


class WithdrawView(View):
    """Take a gate back."""

    @operation(request=WithdrawSerializer, responses=GatePageSerializer, refuses=(409,))
    @durable
    def post(self, request: Request, gate_id: Any) -> Response:
        """Take back a draft or an open gate."""
        actor = actor_of(request)
        services.withdraw(actor=actor, gate_id=gate_id, **given(WithdrawSerializer, request))
        return page(actor, gate_id)


class EvidenceView(View):
    """The frozen evidence."""

    @operation(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, gate_id: Any) -> Response:
        """Read the frozen evidence of a gate, as text and as JSON.

        The digest is sha256 over the UTF-8 bytes of the text.
        """
        gate = selectors.gate(actor_of(request), gate_id)
        return Response({"digest": gate.evidence_digest, "text": gate.evidence_text, "document": documents.frozen(gate) or None})


class DecisionsView(ListView):
    """Decisions of the use cases I may see."""

    lists = "List the decisions of the use cases you may see, newest first."
    filters = {"usecase": USECASE}

    serializer_class = DecisionSerializer

    def get_queryset(self) -> Any:
        """Filtered by `?usecase=`."""
        if getattr(self, "swagger_fake_view", False):
            return Decision.objects.none()
        actor, ref = actor_of(self.request), self.request.query_params.get("usecase")
        return selectors.decision_list(actor, usecase_id=usecases.usecase(actor, ref).id if ref else None)


class DecisionView(View):
    """One decision."""

    @operation(responses=DecisionSerializer)
    def get(self, request: Request, decision_id: Any) -> Response:
        """Read one decision with whether it holds now."""
        return Response(DecisionSerializer(selectors.decision(actor_of(request), decision_id)).data)


class RevokeView(View):
    """End a decision."""

    @operation(request=RevokeSerializer, responses=DecisionSerializer)
    @durable
    def post(self, request: Request, decision_id: Any) -> Response:
        """Revoke a decision; nothing may be deployed by it any more."""
        decision = services.revoke_decision(actor=actor_of(request), decision_id=decision_id, **given(RevokeSerializer, request))
        return Response(DecisionSerializer(decision).data)
