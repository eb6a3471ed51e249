"""REST door of gates, policies and decisions."""

from typing import Any

from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.api.idempotency import idempotent
from apps.approvals import documents, doors, selectors, services
from apps.approvals.api.serializers import (
    AnswerSerializer,
    AttestationSerializer,
    DecisionSerializer,
    GatePageSerializer,
    GateSerializer,
    NewPolicySerializer,
    OpenGateSerializer,
    PolicySerializer,
    RevokeSerializer,
    SignatureSerializer,
    SignSerializer,
    WithdrawSerializer,
    page_json,
)
from apps.approvals.models import Gate, PolicyVersion
from apps.core.actor import Actor
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.errors import Invalid
from apps.decisions.models import Decision
from apps.registry import selectors as registry
from apps.usecases import selectors as usecases


def given(form: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The validated body; raises Invalid naming each wrong field."""
    filled = form(data=request.data)
    filled.is_valid(raise_exception=True)
    return filled.validated_data


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


class GatesView(generics.ListAPIView):
    """Gates I may see, and beginning one."""

    serializer_class = GateSerializer

    def get_queryset(self) -> Any:
        """Filtered by `?usecase=`, `?state=`, `?waiting_on=me`."""
        if getattr(self, "swagger_fake_view", False):
            return Gate.objects.none()
        actor, query = actor_of(self.request), self.request.query_params
        state, waiting = query.get("state", ""), query.get("waiting_on", "")
        if state and state not in Gate.State.values:
            raise Invalid(f"state: choose one of {', '.join(Gate.State.values)}.", errors={"state": ["Unknown."]})
        if waiting not in ("", "me"):
            raise Invalid("waiting_on: only `me` can be asked for.", errors={"waiting_on": ["Unknown."]})
        usecase = usecases.usecase(actor, query["usecase"]).id if query.get("usecase") else None
        return selectors.gates(actor, usecase_id=usecase, state=state, waiting=waiting == "me")

    @extend_schema(parameters=[OpenApiParameter("usecase"), OpenApiParameter("state"), OpenApiParameter("waiting_on")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=OpenGateSerializer, responses={201: GatePageSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Begin a gate as a draft."""
        actor, data = actor_of(request), given(OpenGateSerializer, request)
        gate = services.open_gate(
            actor=actor, usecase_id=usecases.usecase(actor, data["usecase"]).id, to_stage=data["to_stage"],
            model_version_id=version_id(actor, data.get("model_version")), note=data["note"],
        )  # fmt: skip
        return page(actor, gate.id, status.HTTP_201_CREATED)


class GateView(APIView):
    """One gate."""

    @extend_schema(responses=GatePageSerializer)
    def get(self, request: Request, gate_id: Any) -> Response:
        """Evidence, signatures given and wanted, what changed since freezing, and what the caller may do."""
        return page(actor_of(request), gate_id)


class AttestationsView(APIView):
    """Answers to attested items."""

    @extend_schema(responses=AttestationSerializer(many=True))
    def get(self, request: Request, gate_id: Any) -> Response:
        """All answers, replaced ones too."""
        rows = selectors.gate(actor_of(request), gate_id).attestations.all()
        return Response({"results": AttestationSerializer(rows, many=True).data, "next": None})

    @extend_schema(request=AnswerSerializer, responses={201: AttestationSerializer})
    @durable
    def post(self, request: Request, gate_id: Any) -> Response:
        """Answer one item of a draft."""
        row = services.attest(actor=actor_of(request), gate_id=gate_id, **given(AnswerSerializer, request))
        return Response(AttestationSerializer(row).data, status=status.HTTP_201_CREATED)


class RequestView(APIView):
    """Ask for signatures."""

    @extend_schema(request=None, responses=GatePageSerializer)
    @idempotent
    def post(self, request: Request, gate_id: Any) -> Response:
        """Freeze the evidence and open the gate; on an open gate whose evidence changed, freeze it anew."""
        actor = actor_of(request)
        gate = services.request_gate(actor=actor, gate_id=gate_id)
        return page(actor, gate.id)


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class SignaturesView(APIView):
    """Signatures of a gate."""

    @extend_schema(responses=SignatureSerializer(many=True))
    def get(self, request: Request, gate_id: Any) -> Response:
        """All, void ones too, in order."""
        rows = selectors.gate(actor_of(request), gate_id).signatures.all()
        return Response({"results": SignatureSerializer(rows, many=True).data, "next": None})

    @extend_schema(request=SignSerializer, responses={201: GatePageSerializer})
    def post(self, request: Request, gate_id: Any) -> Response:
        """Sign or refuse, giving the password with the signature. Not repeatable: one person signs a gate once."""
        actor = actor_of(request)
        doors.sign(actor=actor, gate_id=gate_id, **given(SignSerializer, request))
        return page(actor, gate_id, status.HTTP_201_CREATED)


class WithdrawView(APIView):
    """Take a gate back."""

    @extend_schema(request=WithdrawSerializer, responses=GatePageSerializer)
    @durable
    def post(self, request: Request, gate_id: Any) -> Response:
        """A draft or an open gate."""
        actor = actor_of(request)
        services.withdraw(actor=actor, gate_id=gate_id, **given(WithdrawSerializer, request))
        return page(actor, gate_id)


class EvidenceView(APIView):
    """The frozen evidence."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, gate_id: Any) -> Response:
        """The canonical text that the digest is of (sha256 of its UTF-8 bytes), and the same as JSON."""
        gate = selectors.gate(actor_of(request), gate_id)
        return Response({"digest": gate.evidence_digest, "text": gate.evidence_text, "document": documents.frozen(gate) or None})


class PoliciesView(generics.ListAPIView):
    """Published gate policies, and publishing one."""

    serializer_class = PolicySerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        return PolicyVersion.objects.none() if getattr(self, "swagger_fake_view", False) else selectors.policies()

    @extend_schema(request=NewPolicySerializer, responses={201: PolicySerializer})
    @durable
    def post(self, request: Request) -> Response:
        """Publish a version from YAML (administrators). 200 when exactly this is published already."""
        policy, new = services.publish_policy(actor=actor_of(request), **given(NewPolicySerializer, request))
        return Response(PolicySerializer(policy).data, status=status.HTTP_201_CREATED if new else status.HTTP_200_OK)


class DecisionsView(generics.ListAPIView):
    """Decisions of the use cases I may see."""

    serializer_class = DecisionSerializer

    def get_queryset(self) -> Any:
        """Filtered by `?usecase=`."""
        if getattr(self, "swagger_fake_view", False):
            return Decision.objects.none()
        actor, ref = actor_of(self.request), self.request.query_params.get("usecase")
        return selectors.decision_list(actor, usecase_id=usecases.usecase(actor, ref).id if ref else None)

    @extend_schema(parameters=[OpenApiParameter("usecase")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().get(request, *args, **kwargs)


class DecisionView(APIView):
    """One decision."""

    @extend_schema(responses=DecisionSerializer)
    def get(self, request: Request, decision_id: Any) -> Response:
        """With whether it holds now."""
        return Response(DecisionSerializer(selectors.decision(actor_of(request), decision_id)).data)


class RevokeView(APIView):
    """End a decision."""

    @extend_schema(request=RevokeSerializer, responses=DecisionSerializer)
    @durable
    def post(self, request: Request, decision_id: Any) -> Response:
        """Nothing may be deployed by it any more."""
        decision = services.revoke_decision(actor=actor_of(request), decision_id=decision_id, **given(RevokeSerializer, request))
        return Response(DecisionSerializer(decision).data)
