"""REST door of accounts."""

from typing import Any, cast

from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import doors, selectors, services
from apps.accounts.api.serializers import (
    BegunSerializer,
    ConfirmCodeSerializer,
    IssuedTokenSerializer,
    MeSerializer,
    NewTokenSerializer,
    NewUserSerializer,
    PasswordSerializer,
    RecoveryCodesSerializer,
    RemoveCodeSerializer,
    RoleSerializer,
    TokenSerializer,
    UserSerializer,
)
from apps.accounts.models import User
from apps.core.actor import Actor
from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import Filter, ListView, View, operation


class MeView(View):
    """Who am I, with which roles and scopes."""

    @operation(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Read who you are, with your roles and scopes."""
        actor = actor_of(request)
        return Response(UserSerializer(request.user).data | {"scopes": sorted(actor.scopes), "functions": sorted(actor.functions)})


class UsersView(ListView):
    """People, and making an account."""

    lists = "List the people with an account, newest first."
    filters = {"search": Filter("Part of a name or address."), "closed": Filter("true: closed accounts too (administrators).", bool)}

    serializer_class = UserSerializer

    def get_queryset(self) -> Any:
        """Active people, or all for administrators who ask."""
        if getattr(self, "swagger_fake_view", False):
            return User.objects.none()
        actor, query = actor_of(self.request), self.request.query_params
        return selectors.users(actor, search=query.get("search", ""), closed=query.get("closed") == "true")

    @operation(request=NewUserSerializer, responses={201: UserSerializer}, refuses=(409,))
    def post(self, request: Request) -> Response:
        """Make an account with roles (administrators)."""
        data = given(NewUserSerializer, request)
        return Response(UserSerializer(_create(actor_of(request), data)).data, status=status.HTTP_201_CREATED)


@durable
def _create(actor: Any, data: dict[str, Any]) -> User:
    user = services.create_user(actor=actor, email=data["email"], full_name=data["full_name"], password=data["password"])
    for role in data["roles"]:
        services.assign_role(actor=actor, user=user, role=role["role"], function=role["function"])
    return user


class UserView(View):
    """One account."""

    @operation(responses=UserSerializer)
    def get(self, request: Request, user_id: str) -> Response:
        """Read one account with its roles."""
        return Response(UserSerializer(selectors.account(actor_of(request), user_id)).data)

    @operation(responses={200: UserSerializer}, refuses=(409,))
    @durable
    def delete(self, request: Request, user_id: str) -> Response:
        """Close an account (administrators).

        Its sessions and tokens end at once; its name stays in the trail.
        """
        return Response(UserSerializer(services.deactivate_user(actor=actor_of(request), user_id=user_id)).data)


class RolesView(View):
    """Roles of one account."""

    @operation(request=RoleSerializer, responses={201: UserSerializer}, refuses=(409,))
    @durable
    def post(self, request: Request, user_id: str) -> Response:
        """Give an account a role (administrators)."""
        actor, user, role = self._read(request, user_id)
        services.assign_role(actor=actor, user=user, **role)
        return Response(UserSerializer(User.objects.get(id=user.id)).data, status=status.HTTP_201_CREATED)

    @operation(request=RoleSerializer, responses={200: UserSerializer}, refuses=(409,))
    @durable
    def delete(self, request: Request, user_id: str) -> Response:
        """Take a role of an account away (administrators); what it allowed ends at once."""
        actor, user, role = self._read(request, user_id)
        services.remove_role(actor=actor, user=user, **role)
        return Response(UserSerializer(User.objects.get(id=user.id)).data)

    @staticmethod
    def _read(request: Request, user_id: str) -> tuple[Actor, User, dict[str, str]]:
        data = given(RoleSerializer, request)
        actor = actor_of(request)
        user = selectors.account(actor, user_id)
        return actor, user, data


@method_decorator(sensitive_post_parameters("password", "current"), name="dispatch")
class PasswordView(View):
    """The password of one account."""

    @operation(request=PasswordSerializer, responses=UserSerializer, refuses=(429,))
    def post(self, request: Request, user_id: str) -> Response:
        """Change a password: one's own (signed in, with `current`), or anybody's as an administrator."""
        user = doors.set_password(actor=actor_of(request), user_id=user_id, **given(PasswordSerializer, request))
        return Response(UserSerializer(user).data)


@method_decorator(sensitive_post_parameters("password", "code"), name="dispatch")
class SecondFactorView(View):
    """Codes from a generator (TOTP) beside my password."""

    @operation(responses={201: BegunSerializer}, refuses=(409,))
    @durable
    def post(self, request: Request) -> Response:
        """Begin with a new generator; codes are asked for once it is confirmed."""
        seed, otpauth = services.begin_second_factor(actor=actor_of(request))
        return Response({"seed": seed, "otpauth": otpauth}, status=status.HTTP_201_CREATED)

    @operation(request=ConfirmCodeSerializer, responses=RecoveryCodesSerializer, refuses=(409, 429))
    def put(self, request: Request) -> Response:
        """Confirm the generator with the password and one of its codes; answers recovery codes."""
        codes = doors.confirm_second_factor(actor=actor_of(request), **given(ConfirmCodeSerializer, request))
        return Response({"recovery_codes": codes})


@method_decorator(sensitive_post_parameters("password", "code"), name="dispatch")
class RemoveSecondFactorView(View):
    """The codes of one account."""

    @operation(request=RemoveCodeSerializer, responses={204: None}, refuses=(409, 429))
    def post(self, request: Request, user_id: str) -> Response:
        """Ask for codes no more: one's own with password and code, another's as an administrator with a reason."""
        doors.remove_second_factor(actor=actor_of(request), user_id=user_id, **given(RemoveCodeSerializer, request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class TokensView(ListView):
    """My API tokens."""

    lists = "List your API tokens, newest first (administrators: all)."

    serializer_class = TokenSerializer

    def get_queryset(self) -> Any:
        """Own tokens; all for administrators."""
        return selectors.tokens(actor_of(self.request))

    @operation(request=NewTokenSerializer, responses={201: IssuedTokenSerializer})
    @durable
    def post(self, request: Request) -> Response:
        """Issue an API token.

        Its secret is in this answer only.
        """
        data = given(NewTokenSerializer, request)
        row, secret = services.issue_token(actor=actor_of(request), user=cast(User, request.user), **data)
        return Response(TokenSerializer(row).data | {"token": secret}, status=status.HTTP_201_CREATED)


class TokenView(View):
    """One token."""

    @operation(responses={200: TokenSerializer})
    @durable
    def delete(self, request: Request, token_id: str) -> Response:
        """Revoke an API token."""
        return Response(TokenSerializer(services.revoke_token(actor=actor_of(request), token_id=token_id)).data)
