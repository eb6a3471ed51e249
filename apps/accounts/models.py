"""People, their roles, API tokens, and requests that were accepted once."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower

from apps.core.actor import Actor, Function, Role
from apps.core.models import BaseModel, VisibleQuerySet


class UserManager(BaseUserManager["User"]):
    """Django's way to make users; the portal itself uses services.create_user."""

    def get_by_natural_key(self, username: str | None) -> "User":
        """Email addresses compare without case."""
        return self.get(email__iexact=username)

    def create_user(self, email: str, password: str | None = None, **extra: Any) -> "User":
        """Insert a user without a role."""
        user = self.model(email=self.normalize_email(email).lower(), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(BaseModel, AbstractBaseUser, PermissionsMixin):
    """A person, known by email address."""

    email = models.EmailField(unique=True)
    full_name = models.CharField(max_length=200)
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["full_name"]
    objects = UserManager()

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="accounts_user_email_ci")]

    def __str__(self) -> str:
        return self.full_name or self.email

    def get_full_name(self) -> str:
        """The printed name, as signatures show it."""
        return self.full_name or self.email

    def get_short_name(self) -> str:
        """First word of the name."""
        return self.get_full_name().split(" ")[0]


class RoleAssignment(BaseModel):
    """One role of one person; an approver has it in a function."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="role_assignments")
    role = models.CharField(max_length=20, choices=[(r.value, r.value) for r in Role])
    function = models.CharField(max_length=20, blank=True, default="", choices=[(f.value, f.value) for f in Function])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "role", "function"], name="accounts_role_once"),
            models.CheckConstraint(
                name="accounts_function_for_approvers",
                condition=models.Q(role="approver") & ~models.Q(function="") | ~models.Q(role="approver") & models.Q(function=""),
            ),
        ]


class TokenQuerySet(VisibleQuerySet):
    """A person sees their own tokens; administrators see all."""

    def visible_to(self, actor: Actor) -> "TokenQuerySet":
        """Own tokens, or all for administrators."""
        return self if actor.is_admin else self.filter(user_id=actor.user_id)


class ApiToken(BaseModel):
    """A secret for scripts: shown once, stored as a hash, limited by scopes and time."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True)
    token_hash = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    objects = TokenQuerySet.as_manager()


class SignInAttempt(BaseModel):
    """A failed try, kept to slow down guessing. `again`: somebody who is signed in confirms it; these count apart."""

    class Kind(models.TextChoices):
        """What was tried."""

        SIGN_IN = "sign-in"
        AGAIN = "again"

    email_hash = models.CharField(max_length=64, db_index=True)
    ip = models.CharField(max_length=64, blank=True)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.SIGN_IN)
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["email_hash", "at"]),
            models.Index(fields=["ip", "at"], name="accounts_attempt_of_address"),
            models.Index(fields=["at"], name="accounts_attempt_age"),
        ]


class IdempotencyKey(BaseModel):
    """An accepted POST and its answer, so that a repeat gets the same answer and does nothing."""

    owner = models.CharField(max_length=100)
    key = models.CharField(max_length=100)
    path = models.CharField(max_length=300)
    request_hash = models.CharField(max_length=64)
    status = models.IntegerField(null=True)
    answer = models.JSONField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "path", "key"], name="accounts_idempotency_once")]
        indexes = [models.Index(fields=["created_at"], name="accounts_idempotency_age")]


class SecondFactor(BaseModel):
    """A person's TOTP generator (RFC 6238). The seed is kept encrypted; it counts once `confirmed_at` is set.

    `last_step` is the last 30-second step that was accepted: a code works once. `recovery` holds SHA-256 hashes of unused codes.
    """

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="second_factor")
    seed_box = models.TextField()
    confirmed_at = models.DateTimeField(null=True)
    last_step = models.BigIntegerField(default=0)
    recovery = models.JSONField(default=list)
