"""What people say on a gate, and the files that go with an answer."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from apps.approvals.models.gates import Gate
from apps.core.models import BaseModel


class Comment(BaseModel):
    """A comment or a question on a gate, or an answer to one. Never changed or deleted."""

    gate = models.ForeignKey(Gate, on_delete=models.PROTECT, related_name="comments")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="gate_comments")
    kind = models.CharField(max_length=10, choices=[("comment", "comment"), ("question", "question")], default="comment")
    text = models.TextField()
    answers = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="replies")
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["gate", "at"], name="approvals_comments_of_gate")]
        constraints = [models.CheckConstraint(name="approvals_comment_has_words", condition=~Q(text=""))]


class Attachment(BaseModel):
    """A small file beside the answer to an item; its digest is in the evidence. Never changed or deleted."""

    gate = models.ForeignKey(Gate, on_delete=models.PROTECT, related_name="attachments")
    item = models.CharField(max_length=100)
    name = models.CharField(max_length=200)
    content_type = models.CharField(max_length=100)
    size = models.PositiveIntegerField()
    digest = models.CharField(max_length=80)
    content = models.BinaryField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="gate_attachments")
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["gate", "item", "digest"], name="approvals_attached_once")]
