"""The trail in JSON."""

import base64
from typing import Any

from rest_framework import serializers

from apps.audit import catalogue
from apps.audit.models import Checkpoint, Event, RowChange
from apps.core.clock import iso


class WhoSerializer(serializers.Serializer):
    """Who did it, as kept for ever."""

    kind = serializers.CharField()
    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    on_behalf_of = serializers.CharField()


class WhatSerializer(serializers.Serializer):
    """What it was done to."""

    type = serializers.CharField()
    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]


class EventSerializer(serializers.Serializer):
    """One event. `leaf_index` is null until the sealer has numbered it, about a second."""

    id = serializers.UUIDField()
    occurred_at = serializers.DateTimeField()
    action = serializers.CharField()
    meaning = serializers.CharField()
    actor = WhoSerializer()
    object = WhatSerializer()
    usecase_id = serializers.CharField(allow_null=True)
    decision_id = serializers.CharField(allow_null=True)
    request_id = serializers.CharField(allow_blank=True)
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)
    leaf_index = serializers.IntegerField(allow_null=True)

    def to_representation(self, instance: Event) -> dict[str, Any]:
        """What was recorded, without a query."""
        facts = instance.facts
        return {
            "id": str(instance.id),
            "occurred_at": facts["occurred_at"],
            "action": instance.action,
            "meaning": catalogue.meaning(instance.action),
            "actor": facts["actor"],
            "object": facts["object"],
            "usecase_id": facts["usecase_id"],
            "decision_id": facts["decision_id"],
            "request_id": facts["request_id"],
            "before": facts["before"],
            "after": facts["after"],
            "reason": facts["reason"],
            "leaf_index": getattr(instance, "leaf_index", None),
        }


class EventDetailSerializer(EventSerializer):
    """One event with the exact text that is hashed."""

    payload = serializers.CharField()

    def to_representation(self, instance: Event) -> dict[str, Any]:
        """As in the list, and the text."""
        return super().to_representation(instance) | {"payload": instance.payload}


class RowChangeSerializer(serializers.Serializer):
    """What happened to one row. Without an `event_id` no event of its transaction tells of it.

    Secrets never show a value; a value of more than 4,096 characters is shown by its SHA-256.
    """

    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    table = serializers.CharField()
    object = serializers.CharField(allow_blank=True)
    operation = serializers.ChoiceField(choices=["INSERT", "UPDATE", "DELETE", "TRUNCATE"])
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)
    actor_id = serializers.CharField()
    actor = serializers.CharField()
    db_role = serializers.CharField()
    event_id = serializers.UUIDField(allow_null=True)

    def to_representation(self, instance: RowChange) -> dict[str, Any]:
        """Who did it is whom the event names; without one, whom the transaction named."""
        return {
            "id": instance.id,
            "at": iso(instance.at),
            "table": instance.table_name,
            "object": instance.row_id,
            "operation": instance.operation,
            "before": instance.before,
            "after": instance.after,
            "actor_id": instance.event_actor_id or instance.actor,  # type: ignore[attr-defined]
            "actor": instance.who,
            "db_role": instance.db_role,
            "event_id": instance.event_id and str(instance.event_id),  # type: ignore[attr-defined]
        }


class CheckpointSerializer(serializers.Serializer):
    """One signed checkpoint."""

    tree_size = serializers.IntegerField()
    root = serializers.CharField()  # type: ignore[assignment]
    sealed_at = serializers.DateTimeField()
    note = serializers.CharField()

    def to_representation(self, instance: Checkpoint) -> dict[str, Any]:
        """The root in base64, as in the note."""
        return super().to_representation(
            {
                "tree_size": instance.tree_size,
                "root": base64.b64encode(bytes(instance.root)).decode(),
                "sealed_at": instance.sealed_at,
                "note": instance.note,
            }
        )


class InclusionProofSerializer(serializers.Serializer):
    """That an event is in the trail; hashes in base64, the path lowest first."""

    event_id = serializers.UUIDField()
    payload = serializers.CharField()
    leaf_hash = serializers.CharField()
    leaf_index = serializers.IntegerField()
    tree_size = serializers.IntegerField()
    path = serializers.ListField(child=serializers.CharField())
    root = serializers.CharField()  # type: ignore[assignment]
    checkpoint = serializers.CharField()


class ConsistencyProofSerializer(serializers.Serializer):
    """That the older checkpoint is a beginning of the newer one."""

    to = serializers.CharField()
    path = serializers.ListField(child=serializers.CharField())

    def get_fields(self) -> dict[str, Any]:
        """`from` is a Python keyword, so it cannot be declared above."""
        return {"from": serializers.CharField(), **super().get_fields()}


class ExportSerializer(serializers.Serializer):
    """What to export; without a use case the whole trail."""

    usecase_id = serializers.UUIDField(required=False, allow_null=True, default=None)
