"""REST door of use cases."""

from typing import Any

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.api.idempotency import idempotent
from apps.core.actor import Actor
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import Filter, ListView, View, listed, operation
from apps.usecases import rules, selectors, services
from apps.usecases.api.serializers import (
    AccessSerializer,
    ChangeUseCaseSerializer,
    HolderSerializer,
    IntegrationSerializer,
    LessonSerializer,
    LinkModelSerializer,
    MoveSerializer,
    NewUseCaseSerializer,
    PartSerializer,
    PersonRefSerializer,
    ReasonSerializer,
    RequirementsSerializer,
    UseCaseDetailSerializer,
    UseCaseSerializer,
)
from apps.usecases.models import UseCase


def detail(actor: Actor, ref: Any, code: int = status.HTTP_200_OK) -> Response:
    """One use case as it now stands."""
    return Response(UseCaseDetailSerializer(selectors.usecase(actor, ref), context={"actor": actor}).data, status=code)


class UseCasesView(ListView):
    """Use cases I may see, and writing one down."""

    lists = "List the use cases you may see, newest first."
    filters = {"stage": Filter("Only those at this stage.", choices=rules.STAGES), "search": Filter("Part of the name.")}

    serializer_class = UseCaseSerializer

    def get_queryset(self) -> Any:
        """Filtered by `?stage=` and `?search=`."""
        if getattr(self, "swagger_fake_view", False):
            return UseCase.objects.none()
        rows = selectors.usecases(actor_of(self.request))
        if stage := self.request.query_params.get("stage"):
            rows = rows.filter(stage=stage)
        if words := self.request.query_params.get("search"):
            rows = rows.filter(name__icontains=words)
        return rows

    @operation(request=NewUseCaseSerializer, responses={201: UseCaseDetailSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Write down a use case, at stage `proposal`."""
        actor = actor_of(request)
        made = services.create_usecase(actor=actor, **given(NewUseCaseSerializer, request))
        return detail(actor, made.id, status.HTTP_201_CREATED)


class UseCaseView(View):
    """One use case."""

    @operation(responses=UseCaseDetailSerializer)
    def get(self, request: Request, ref: str) -> Response:
        """Read one use case with its people, integrations, moves and time in each stage."""
        return detail(actor_of(request), ref)

    @operation(request=ChangeUseCaseSerializer, responses=UseCaseDetailSerializer)
    @durable
    def patch(self, request: Request, ref: str) -> Response:
        """Change the fields of a use case that are given."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        services.update_usecase(actor=actor, usecase_id=usecase.id, **given(ChangeUseCaseSerializer, request, partial=True))
        return detail(actor, usecase.id)


class RequirementsView(View):
    """Non-functional requirements."""

    @operation(responses=RequirementsSerializer)
    def get(self, request: Request, ref: str) -> Response:
        """Read the non-functional requirements of a use case; all are null before they were set."""
        row = selectors.requirements(selectors.usecase(actor_of(request), ref).id)
        return Response(RequirementsSerializer(row).data if row else dict.fromkeys(rules.BOUNDS))

    @operation(request=RequirementsSerializer, responses=RequirementsSerializer)
    @durable
    def put(self, request: Request, ref: str) -> Response:
        """Set the requirements of a use case that are given."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        row = services.set_requirements(actor=actor, usecase_id=usecase.id, **given(RequirementsSerializer, request, partial=True))
        return Response(RequirementsSerializer(row).data)


class IntegrationsView(View):
    """Integration points."""

    @operation(responses=listed(IntegrationSerializer))
    def get(self, request: Request, ref: str) -> Response:
        """List the systems that a use case reads from and writes to, by name."""
        rows = selectors.integrations(selectors.usecase(actor_of(request), ref).id)
        return Response({"results": IntegrationSerializer(rows, many=True).data, "next": None})

    @operation(request=IntegrationSerializer, responses={201: IntegrationSerializer}, refuses=(409,))
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Add a system that a use case reads from or writes to."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        point = services.add_integration(actor=actor, usecase_id=usecase.id, **given(IntegrationSerializer, request))
        return Response(IntegrationSerializer(point).data, status=status.HTTP_201_CREATED)


class ModelsView(View):
    """Registered models that serve the use case."""

    @operation(responses=listed(LinkModelSerializer))
    def get(self, request: Request, ref: str) -> Response:
        """List the registered models that serve a use case, by name."""
        names = selectors.model_names(selectors.usecase(actor_of(request), ref).id)
        return Response({"results": [{"model": name} for name in names], "next": None})

    @operation(request=LinkModelSerializer, responses={201: LinkModelSerializer})
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Link a registered model to a use case, by its name."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        link = services.link_model(actor=actor, usecase_id=usecase.id, model_name=given(LinkModelSerializer, request)["model"])
        return Response({"model": link.model.name}, status=status.HTTP_201_CREATED)


class AccessView(View):
    """Who may see or change it."""

    @operation(responses=listed(HolderSerializer))
    def get(self, request: Request, ref: str) -> Response:
        """List who was given access to a use case, with part and level."""
        rows = selectors.access(selectors.usecase(actor_of(request), ref))
        return Response({"results": HolderSerializer(rows, many=True).data, "next": None})

    @operation(request=AccessSerializer, responses={201: PartSerializer})
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Give a person access to a use case."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        part = services.give_access(actor=actor, usecase_id=usecase.id, **given(AccessSerializer, request))
        return Response(PartSerializer(part).data, status=status.HTTP_201_CREATED)


class PersonAccessView(View):
    """One person's access."""

    @operation(responses={200: PersonRefSerializer}, refuses=(409,))
    @durable
    def delete(self, request: Request, ref: str, user_id: Any) -> Response:
        """Take a person's access to a use case away; it ends at once."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        return Response(PersonRefSerializer(services.take_access(actor=actor, usecase_id=usecase.id, user_id=user_id)).data)


class MovesView(View):
    """Moves between stages."""

    @operation(responses=listed(MoveSerializer))
    def get(self, request: Request, ref: str) -> Response:
        """List the moves of a use case between stages, oldest first."""
        rows = selectors.moves(selectors.usecase(actor_of(request), ref).id)
        return Response({"results": MoveSerializer(rows, many=True).data, "next": None})


class HoldView(View):
    """Pause."""

    @operation(request=ReasonSerializer, responses=UseCaseDetailSerializer, refuses=(409,))
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Put a use case on hold; its decisions are suspended."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        services.put_on_hold(actor=actor, usecase_id=usecase.id, reason=given(ReasonSerializer, request)["reason"])
        return detail(actor, usecase.id)


class ResumeView(View):
    """Go on."""

    @operation(responses=UseCaseDetailSerializer, refuses=(409,))
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Take a use case off hold, back to where it was."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        services.resume(actor=actor, usecase_id=usecase.id)
        return detail(actor, usecase.id)


class StopView(View):
    """End."""

    @operation(request=LessonSerializer, responses=UseCaseDetailSerializer, refuses=(409,))
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Stop a use case for good, with what was learned."""
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        services.stop(actor=actor, usecase_id=usecase.id, lesson=given(LessonSerializer, request)["lesson"])
        return detail(actor, usecase.id)


class FallBackView(View):
    """Back from production to pilot."""

    @operation(request=ReasonSerializer, responses=UseCaseDetailSerializer, refuses=(409,))
    @durable
    def post(self, request: Request, ref: str) -> Response:
        """Take a use case back from production to pilot.

        Production's decisions are revoked; coming back needs the gate again.
        """
        actor = actor_of(request)
        usecase = selectors.usecase(actor, ref)
        services.fall_back(actor=actor, usecase_id=usecase.id, reason=given(ReasonSerializer, request)["reason"])
        return detail(actor, usecase.id)
