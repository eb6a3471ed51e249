"""REST door of comments on gates and of files beside answers."""

import base64
import binascii
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.approvals import doors, selectors, services, talk_rules
from apps.approvals.models import Attachment, Comment
from apps.core.api import actor_of
from apps.core.doors import call, durable
from apps.core.errors import Invalid
from apps.core.forms import given
from apps.core.rest import View, listed, operation


class CommentSerializer(serializers.ModelSerializer):
    """What somebody said or asked."""

    by = serializers.EmailField(source="by.email")
    name = serializers.CharField(source="by.__str__")

    class Meta:
        model = Comment
        fields = ["id", "by", "name", "kind", "text", "answers_id", "at"]


class NewCommentSerializer(serializers.Serializer):
    """A comment or a question; `answers` is the id of what it answers."""

    text = serializers.CharField(max_length=talk_rules.MOST_CHARACTERS)
    kind = serializers.ChoiceField(choices=talk_rules.KINDS, required=False, default="comment")
    answers = serializers.UUIDField(required=False, allow_null=True, default=None)


class AttachmentSerializer(serializers.ModelSerializer):
    """A file beside the answer to an item, without its content."""

    by = serializers.EmailField(source="by.email")

    class Meta:
        model = Attachment
        fields = ["id", "item", "name", "content_type", "size", "digest", "by", "at"]


class NewAttachmentSerializer(serializers.Serializer):
    """A file of at most 1 MiB, its bytes in base64."""

    item = serializers.CharField(max_length=100)
    name = serializers.CharField(max_length=200)
    content = serializers.CharField(max_length=4 * (talk_rules.MOST_BYTES // 3 + 1), write_only=True, help_text="base64")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("content: give the file's bytes in base64.", errors={"content": ["Give base64."]}) from error


class CommentsView(View):
    """What is said on a gate."""

    @operation(responses=listed(CommentSerializer))
    def get(self, request: Request, gate_id: Any) -> Response:
        """List the comments and questions on a gate, oldest first."""
        rows = selectors.gate(actor_of(request), gate_id).comments.all()
        return Response({"results": CommentSerializer(rows, many=True).data, "next": None})

    @operation(request=NewCommentSerializer, responses={201: CommentSerializer}, refuses=(404,))
    @durable
    def post(self, request: Request, gate_id: Any) -> Response:
        """Say or ask something on a gate; whoever sees the gate reads it, those concerned are told."""
        row = services.comment(actor=actor_of(request), gate_id=gate_id, **given(NewCommentSerializer, request))
        return Response(CommentSerializer(row).data, status=status.HTTP_201_CREATED)


class AttachmentsView(View):
    """Files of a gate."""

    @operation(responses=listed(AttachmentSerializer))
    def get(self, request: Request, gate_id: Any) -> Response:
        """List the files beside the answers of a gate."""
        rows = selectors.gate(actor_of(request), gate_id).attachments.select_related("by")
        return Response({"results": AttachmentSerializer(rows.defer("content"), many=True).data, "next": None})

    @operation(request=NewAttachmentSerializer, responses={201: AttachmentSerializer}, refuses=(409,))
    @durable
    def post(self, request: Request, gate_id: Any) -> Response:
        """Put a small file beside the answer to an item of a draft gate; its digest becomes evidence."""
        data = given(NewAttachmentSerializer, request)
        row = services.attach(
            actor=actor_of(request), gate_id=gate_id, item=data["item"], name=data["name"], content=_bytes(data["content"])
        )
        return Response(AttachmentSerializer(row).data, status=status.HTTP_201_CREATED)


class AttachmentView(View):
    """One file."""

    @operation(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, gate_id: Any, attachment_id: Any) -> HttpResponse:
        """Download a file of a gate; the trail says who did."""
        return doors.file_response(call(services.read_attachment, actor=actor_of(request), gate_id=gate_id, attachment_id=attachment_id))
