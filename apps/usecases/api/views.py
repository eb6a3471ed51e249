"""REST door of use cases."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.api.idempotency import idempotent
from apps.core.actor import Actor
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.errors import Invalid
from apps.usecases import rules, selectors, services
from apps.usecases.api.serializers import (
    AccessSerializer,
    ChangeUseCaseSerializer,
    IntegrationSerializer,
    LessonSerializer,
    LinkModelSerializer,
    MoveSerializer,
    NewUseCaseSerializer,
    PartSerializer,
    ReasonSerializer,
    RequirementsSerializer,
    UseCaseDetailSerializer,
    UseCaseSerializer,
)
from apps.usecases.models import UseCase


def given(form: type[serializers.Serializer[Any]], request: Request, **options: Any) -> dict[str, Any]:
    """The validated body; raises Invalid naming each wrong field."""
    filled = form(data=request.data, **options)
    filled.is_valid(raise_exception=True)
    return filled.validated_data


def detail(actor: Actor, ref: Any, code: int = status.HTTP_200_OK) -> Response:
    """One use case as it now stands."""
    return Response(UseCaseDetailSerializer(selectors.usecase(actor, ref)).data, status=code)


class UseCasesView(generics.ListAPIView):
    """Use cases I may see, and writing one down."""

    serializer_class = UseCaseSerializer

    def get_queryset(self) -> Any:
        """Filtered by `?stage=` and `?search=`."""
        if getattr(self, "swagger_fake_view", False):
            return UseCase.objects.none()
        rows = selectors.usecases(actor_of(self.request))
        if stage := self.request.query_params.get("stage"):
            if stage not in rules.STAGES:
                raise Invalid(f"stage: choose one of {', '.join(rules.STAGES)}.", errors={"stage": ["Unknown."]})
            rows = rows.filter(stage=stage)
        if words := self.request.query_params.get("search"):
            rows = rows.filter(name__icontains=words)
        return rows

    @extend_schema(parameters=[OpenApiParameter("stage"), OpenApiParameter("search")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=NewUseCaseSerializer, responses={201: UseCaseDetailSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Write down a use case at stage `proposal`."""
        actor = actor_of(request)
        made = services.create_usecase(actor=actor, **given(NewUseCaseSerializer, request))
        return detail(actor, made.id, status.HTTP_201_CREATED)


class UseCaseView(APIView):
    """One use case."""

    @extend_schema(responses=UseCaseDetailSerializer)
    def get(self, request: Request, ref: str) -> Response:
        """With people, integrations, moves and the time in each stage."""
        return detail(actor_of(request), ref)

    @extend_schema(request=ChangeUseCaseSerializer, responses=UseCaseDetailSerializer)
    @durable
    def patch(self, request: Request, ref: str) -> Response:
        """Change what is given."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        services.update_usecase(actor=actor, usecase_id=usecase.id, **given(ChangeUseCaseSerializer, request, partial=True))
        return detail(actor, usecase.id)


class RequirementsView(APIView):
    """Non-functional requirements."""

    @extend_schema(responses=RequirementsSerializer)
    def get(self, request: Request, ref: str) -> Response:
        """All null before they were set."""
        row = selectors.requirements(selectors.usecase(actor_of(request), ref).id)
        return Response(RequirementsSerializer(row).data if row else dict.fromkeys(rules.BOUNDS))

    @extend_schema(request=RequirementsSerializer, responses=RequirementsSerializer)
    @durable
    def put(self, request: Request, ref: str) -> Response:
        """Set what is given."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        row = services.set_requirements(actor=actor, usecase_id=usecase.id, **given(RequirementsSerializer, request, partial=True))
        return Response(RequirementsSerializer(row).data)


class IntegrationsView(APIView):
    """Integration points."""

    @extend_schema(responses=IntegrationSerializer(many=True))
    def get(self, request: Request, ref: str) -> Response:
        """By name."""
        rows = selectors.integrations(selectors.usecase(actor_of(request), ref).id)
        return Response({"results": IntegrationSerializer(rows, many=True).data, "next": None})

    @extend_schema(request=IntegrationSerializer, responses={201: IntegrationSerializer})
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Name one more."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        point = services.add_integration(actor=actor, usecase_id=usecase.id, **given(IntegrationSerializer, request))
        return Response(IntegrationSerializer(point).data, status=status.HTTP_201_CREATED)


class ModelsView(APIView):
    """Registered models that serve the use case."""

    @extend_schema(responses=LinkModelSerializer(many=True))
    def get(self, request: Request, ref: str) -> Response:
        """By name."""
        names = selectors.model_names(selectors.usecase(actor_of(request), ref).id)
        return Response({"results": [{"model": name} for name in names], "next": None})

    @extend_schema(request=LinkModelSerializer, responses={201: LinkModelSerializer})
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Link one by name."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        link = services.link_model(actor=actor, usecase_id=usecase.id, model_name=given(LinkModelSerializer, request)["model"])
        return Response({"model": link.model.name}, status=status.HTTP_201_CREATED)


class AccessView(APIView):
    """Who may see or change it."""

    @extend_schema(responses=PartSerializer(many=True))
    def get(self, request: Request, ref: str) -> Response:
        """People and their parts."""
        rows = selectors.usecase(actor_of(request), ref).people.all()
        return Response({"results": PartSerializer(rows, many=True).data, "next": None})

    @extend_schema(request=AccessSerializer, responses={201: PartSerializer})
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Give a person access."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        part = services.give_access(actor=actor, usecase_id=usecase.id, **given(AccessSerializer, request))
        return Response(PartSerializer(part).data, status=status.HTTP_201_CREATED)


class MovesView(APIView):
    """Moves between stages."""

    @extend_schema(responses=MoveSerializer(many=True))
    def get(self, request: Request, ref: str) -> Response:
        """Oldest first."""
        rows = selectors.moves(selectors.usecase(actor_of(request), ref).id)
        return Response({"results": MoveSerializer(rows, many=True).data, "next": None})


class HoldView(APIView):
    """Pause."""

    @extend_schema(request=ReasonSerializer, responses=UseCaseDetailSerializer)
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Put the use case on hold; its decisions are suspended."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        services.put_on_hold(actor=actor, usecase_id=usecase.id, reason=given(ReasonSerializer, request)["reason"])
        return detail(actor, usecase.id)


class ResumeView(APIView):
    """Go on."""

    @extend_schema(request=None, responses=UseCaseDetailSerializer)
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Take the use case off hold, back to where it was."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        services.resume(actor=actor, usecase_id=usecase.id)
        return detail(actor, usecase.id)


class StopView(APIView):
    """End."""

    @extend_schema(request=LessonSerializer, responses=UseCaseDetailSerializer)
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Stop the use case for good; what we learned is required."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        services.stop(actor=actor, usecase_id=usecase.id, lesson=given(LessonSerializer, request)["lesson"])
        return detail(actor, usecase.id)


class FallBackView(APIView):
    """Back from production to pilot."""

    @extend_schema(request=ReasonSerializer, responses=UseCaseDetailSerializer)
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Production's decisions are revoked; coming back needs the gate again."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        services.fall_back(actor=actor, usecase_id=usecase.id, reason=given(ReasonSerializer, request)["reason"])
        return detail(actor, usecase.id)
