"""REST door of accounts."""

from typing import Any, cast

from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts import selectors, services
from apps.accounts.api.serializers import (
    IssuedTokenSerializer,
    NewTokenSerializer,
    NewUserSerializer,
    PasswordSerializer,
    RoleSerializer,
    TokenSerializer,
    UserSerializer,
)
from apps.accounts.models import User
from apps.core.actor import Actor
from apps.core.api import actor_of
from apps.core.doors import call, durable
from apps.core.errors import CredentialsRefused, NotFound


class MeView(APIView):
    """Who am I, with which roles and scopes."""

    @extend_schema(responses=UserSerializer)
    def get(self, request: Request) -> Response:
        """The signed-in person."""
        actor = actor_of(request)
        return Response(UserSerializer(request.user).data | {"scopes": sorted(actor.scopes), "functions": sorted(actor.functions)})


class UsersView(generics.ListAPIView):
    """People, and making an account."""

    serializer_class = UserSerializer

    def get_queryset(self) -> Any:
        """Active people."""
        return selectors.users(actor_of(self.request)) if self.request else User.objects.none()

    @extend_schema(request=NewUserSerializer, responses={201: UserSerializer})
    def post(self, request: Request) -> Response:
        """Make an account with roles (administrators)."""
        form = NewUserSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(UserSerializer(_create(actor_of(request), form.validated_data)).data, status=status.HTTP_201_CREATED)


@durable
def _create(actor: Any, data: dict[str, Any]) -> User:
    user = services.create_user(actor=actor, email=data["email"], full_name=data["full_name"], password=data["password"])
    for role in data["roles"]:
        services.assign_role(actor=actor, user=user, role=role["role"], function=role["function"])
    return user


class UserView(APIView):
    """One account."""

    @extend_schema(request=None, responses=UserSerializer)
    @durable
    def delete(self, request: Request, user_id: str) -> Response:
        """Close it: no sign-in and no token any more; its name stays in the trail (administrators)."""
        return Response(UserSerializer(services.deactivate_user(actor=actor_of(request), user_id=user_id)).data)


class RolesView(APIView):
    """Roles of one account."""

    @extend_schema(request=RoleSerializer, responses={201: UserSerializer})
    @durable
    def post(self, request: Request, user_id: str) -> Response:
        """Give a role (administrators)."""
        actor, user, role = self._read(request, user_id)
        services.assign_role(actor=actor, user=user, **role)
        return Response(UserSerializer(User.objects.get(id=user.id)).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=RoleSerializer, responses=UserSerializer)
    @durable
    def delete(self, request: Request, user_id: str) -> Response:
        """Take a role away (administrators); what it allowed ends at once."""
        actor, user, role = self._read(request, user_id)
        services.remove_role(actor=actor, user=user, **role)
        return Response(UserSerializer(User.objects.get(id=user.id)).data)

    @staticmethod
    def _read(request: Request, user_id: str) -> tuple[Actor, User, dict[str, str]]:
        form = RoleSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        actor = actor_of(request)
        user = selectors.users(actor).filter(id=user_id).first()
        if user is None:
            raise NotFound("There is no such account.")
        return actor, user, form.validated_data


@method_decorator(sensitive_post_parameters("password", "current"), name="dispatch")
class PasswordView(APIView):
    """The password of one account."""

    @extend_schema(request=PasswordSerializer, responses=UserSerializer)
    def post(self, request: Request, user_id: str) -> Response:
        """Change it: one's own (signed in, with `current`), or anybody's as an administrator."""
        form = PasswordSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        actor = actor_of(request)
        try:
            user = call(services.set_password, actor=actor, user_id=user_id, **form.validated_data)
        except CredentialsRefused:
            email = User.objects.values_list("email", flat=True).get(id=user_id)
            call(services.record_failure, email=email, ip=actor.ip, user_agent=actor.user_agent, purpose="password change")
            raise
        return Response(UserSerializer(user).data)


class TokensView(generics.ListAPIView):
    """My API tokens."""

    serializer_class = TokenSerializer

    def get_queryset(self) -> Any:
        """Own tokens; all for administrators."""
        return selectors.tokens(actor_of(self.request))

    @extend_schema(request=NewTokenSerializer, responses={201: IssuedTokenSerializer})
    @durable
    def post(self, request: Request) -> Response:
        """Issue a token; its secret is in this answer only."""
        form = NewTokenSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        row, secret = services.issue_token(actor=actor_of(request), user=cast(User, request.user), **form.validated_data)
        return Response(TokenSerializer(row).data | {"token": secret}, status=status.HTTP_201_CREATED)


class TokenView(APIView):
    """One token."""

    @extend_schema(request=None, responses=TokenSerializer)
    @durable
    def delete(self, request: Request, token_id: str) -> Response:
        """Revoke it."""
        return Response(TokenSerializer(services.revoke_token(actor=actor_of(request), token_id=token_id)).data)
