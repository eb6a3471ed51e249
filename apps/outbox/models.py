"""Messages that wait to be sent: written with the change they speak of."""

from django.db import models

from apps.core.clock import now


class Message(models.Model):
    """One message for a Celery task. Rows are kept a while after sending, then swept."""

    id = models.BigAutoField(primary_key=True)
    topic = models.CharField(max_length=100)
    body = models.JSONField()
    created_at = models.DateTimeField(default=now)
    due_at = models.DateTimeField(default=now)
    claimed_until = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["due_at"], condition=models.Q(sent_at=None), name="outbox_waiting")]
