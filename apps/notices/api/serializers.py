"""Shapes of notices in REST."""

from typing import Any

from rest_framework import serializers

from apps.notices.models import Delivery, Notice, Try, Webhook


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    """A webhook, never its key."""

    waiting = serializers.IntegerField(read_only=True, default=0)
    gave_up = serializers.IntegerField(read_only=True, default=0)
    last_delivered_at = serializers.DateTimeField(read_only=True, default=None)

    class Meta:
        model = Webhook
        fields = (
            "id",
            "name",
            "url",
            "events",
            "usecase_id",
            "created_by",
            "created_at",
            "ended_at",
            "waiting",
            "gave_up",
            "last_delivered_at",
        )


class NewWebhookSerializer(serializers.Serializer[Any]):
    """What a webhook is made of."""

    name = serializers.CharField(max_length=100)
    url = serializers.CharField(max_length=1000)
    events = serializers.ListField(child=serializers.CharField(max_length=60), required=False, default=list, help_text="None: all events.")
    usecase_id = serializers.UUIDField(required=False, allow_null=True, default=None)


class ChangedWebhookSerializer(serializers.Serializer[Any]):
    """What may be changed."""

    name = serializers.CharField(max_length=100, required=False)
    url = serializers.CharField(max_length=1000, required=False)
    events = serializers.ListField(child=serializers.CharField(max_length=60), required=False)


class WebhookWithKeySerializer(WebhookSerializer):
    """A webhook with its signing key: in this answer only."""

    signing_key = serializers.CharField(read_only=True)

    class Meta(WebhookSerializer.Meta):
        fields = (*WebhookSerializer.Meta.fields, "signing_key")  # type: ignore[assignment]


class TrySerializer(serializers.ModelSerializer[Try]):
    """One attempt."""

    at = serializers.DateTimeField(source="created_at")

    class Meta:
        model = Try
        fields = ("at", "status", "answer", "error", "took_ms")


class NoticeSerializer(serializers.ModelSerializer[Notice]):
    """What happened."""

    class Meta:
        model = Notice
        fields = ("id", "event", "usecase_id", "title", "text", "path", "data", "created_at")


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """A notice on its way to a webhook."""

    notice = NoticeSerializer()
    log = TrySerializer(many=True)

    class Meta:
        model = Delivery
        fields = ("id", "notice", "state", "tries", "next_try_at", "delivered_at", "log")


class MineSerializer(serializers.ModelSerializer[Delivery]):
    """A notice to me."""

    notice = NoticeSerializer()

    class Meta:
        model = Delivery
        fields = ("id", "notice", "read_at")


class MailChoiceSerializer(serializers.Serializer[Any]):
    """Whether notices come by email."""

    wanted = serializers.BooleanField()
