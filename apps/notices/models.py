"""What is told to whom: notices, webhooks, deliveries and each try to deliver."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from apps.core.actor import Actor
from apps.core.models import BaseModel, VisibleQuerySet


class Notice(BaseModel):
    """Something that happened, in words for people and as data for machines. `path` is the page to go to."""

    event = models.CharField(max_length=60, db_index=True)
    usecase_id = models.UUIDField(null=True)
    title = models.CharField(max_length=200)
    text = models.TextField(blank=True, default="")
    path = models.CharField(max_length=500, blank=True, default="")
    data = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.title


class WebhookQuerySet(VisibleQuerySet):
    """Webhooks carry what happens in every use case: administrators and auditors see them."""


class Webhook(BaseModel):
    """An address that is told of events. The key that signs is kept encrypted; after a rotation the old one signs too, for a while.

    events: names, or none for all. usecase_id: only what happens in that use case.
    """

    name = models.CharField(max_length=100)
    url = models.URLField(max_length=1000)
    events = models.JSONField(default=list)
    usecase_id = models.UUIDField(null=True)
    key_box = models.TextField()
    old_key_box = models.TextField(blank=True, default="")
    old_key_until = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=300)
    ended_at = models.DateTimeField(null=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name"], condition=Q(ended_at=None), name="notices_webhook_name_once")]

    def __str__(self) -> str:
        return self.name


class DeliveryQuerySet(VisibleQuerySet):
    """A person sees what was told to them; administrators and auditors see all."""

    def visible_to(self, actor: Actor) -> "DeliveryQuerySet":
        """Own ones, or all."""
        return self if actor.sees_everything else self.filter(person_id=actor.user_id) if actor.user_id else self.none()


class Delivery(BaseModel):
    """One notice on its way to one webhook or to one person (by email, if `by_mail`; always on their page).

    `claimed_until` keeps two workers from sending it at once; `tries` counts those since it was last asked for.
    """

    class State(models.TextChoices):
        """waiting: to be tried at `next_try_at`; shown: on the person's page, no email wanted."""

        WAITING = "waiting"
        DELIVERED = "delivered"
        GAVE_UP = "gave_up"
        SHOWN = "shown"

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    webhook = models.ForeignKey(Webhook, null=True, on_delete=models.PROTECT, related_name="deliveries")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="notices")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["next_try_at"], condition=Q(state="waiting"), name="notices_due"),
            models.Index(fields=["person", "-id"], name="notices_of_person"),
            models.Index(fields=["webhook", "-id"], name="notices_of_webhook"),
        ]
        constraints = [
            models.CheckConstraint(
                name="notices_to_one", condition=Q(webhook=None, person__isnull=False) | Q(webhook__isnull=False, person=None)
            ),
            models.UniqueConstraint(fields=["notice", "webhook"], condition=Q(person=None), name="notices_once_a_webhook"),
            models.UniqueConstraint(fields=["notice", "person"], condition=Q(webhook=None), name="notices_once_a_person"),
        ]


class Try(BaseModel):
    """One attempt: what was answered (HTTP status and the beginning of the body) or why there was no answer."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="log")
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.CharField(max_length=500, blank=True, default="")
    error = models.CharField(max_length=300, blank=True, default="")
    took_ms = models.FloatField()


class MailChoice(BaseModel):
    """A person does not want emails; without a row they do."""

    person = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mail_choice")
    wanted = models.BooleanField(default=True)
