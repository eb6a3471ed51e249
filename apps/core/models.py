"""The bases every table shares. This app itself has no table."""

from typing import Any, Self

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import models

from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.core.ids import new_id


class VisibleQuerySet(models.QuerySet[Any]):
    """A queryset that starts from what an actor may see; an app overrides `visible_to`."""

    def visible_to(self, actor: Actor) -> Self:
        """Only those who see everything see anything, until an app says otherwise."""
        return self if actor.sees_everything else self.none()

    def one(self, what: str, **lookup: Any) -> Any:
        """The one row, or NotFound naming `what`; bad ids count as not found."""
        try:
            return self.get(**lookup)
        except (ObjectDoesNotExist, ValidationError, ValueError, TypeError) as error:
            raise NotFound(f"There is no such {what}, or you may not see it. Check the address or ask its owner.") from error


class BaseModel(models.Model):
    """A time-ordered id and the moment the row was written."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        abstract = True
