"""Keys and certificates that administrators trust to sign models."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from apps.core.actor import Actor
from apps.core.models import BaseModel, VisibleQuerySet


class SigningKeyQuerySet(VisibleQuerySet):
    """Public keys hide nothing: everybody may see them."""

    def visible_to(self, actor: Actor) -> "SigningKeyQuerySet":
        """All of them."""
        return self


class SigningKey(BaseModel):
    """A public key or certificate (`pem`) whose signatures of models count, until it is retired. Never changed otherwise.

    fingerprint: see rules.signing_keys.Described; about: what it is, for people.
    """

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=11, choices=[(k, k) for k in ("key", "certificate")])
    fingerprint = models.CharField(max_length=64)
    about = models.CharField(max_length=500)
    pem = models.TextField()
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    retired_at = models.DateTimeField(null=True, blank=True)
    retired_because = models.CharField(max_length=1000, blank=True, default="")

    objects = SigningKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["fingerprint"], condition=Q(retired_at=None), name="registry_signing_key_trusted_once"),
            models.UniqueConstraint(fields=["name"], condition=Q(retired_at=None), name="registry_signing_key_named_once"),
            models.CheckConstraint(condition=Q(retired_at=None) | ~Q(retired_because=""), name="registry_signing_key_retired_why"),
        ]

    def __str__(self) -> str:
        return self.name
