"""What the trail had last said of something at a moment: for views "as of". Not filtered by person: who asks has checked."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

Facts = dict[str, Any]


def last(action: str, *, at: datetime | None = None) -> Facts | None:
    """The newest event of an action (recorded by `at`), parsed; None when there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT payload FROM audit_event WHERE action = %s AND (%s::timestamptz IS NULL OR occurred_at <= %s) ORDER BY id DESC LIMIT 1",
            [action, at, at],
        )
        row = cursor.fetchone()
    return json.loads(row[0]) if row else None


def first_since_each(action: str, asked: dict[str, tuple[Any, int]], *, at: datetime, number: str) -> dict[str, Facts]:
    """Key -> the first event of an action by `at`, after the event and with at least the `number` in `after` that the key names."""
    rows = list(asked.items())
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT o.key, e.payload FROM unnest(%s::text[], %s::uuid[], %s::bigint[]) AS o (key, event_id, least) CROSS JOIN LATERAL (
                SELECT payload FROM audit_event
                WHERE action = %s AND audit_event.id > o.event_id AND occurred_at <= %s
                  AND (payload::json->'after'->>%s)::bigint >= o.least
                ORDER BY audit_event.id LIMIT 1
            ) e
            """,
            [[k for k, _ in rows], [v[0] for _, v in rows], [v[1] for _, v in rows], action, at, number],
        )
        return {key: json.loads(payload) for key, payload in cursor.fetchall()}


def last_of_each(action: str | Sequence[str], object_ids: Sequence[Any], *, at: datetime, number: str = "", most: int | None = None) -> dict[str, Facts]:
    """Object id -> its newest event of an action (or of any of several) by `at`. With `most`, the newest whose `after` names a `number` up to that."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT o.id, e.payload FROM unnest(%s::text[]) AS o (id) CROSS JOIN LATERAL (
                SELECT payload FROM audit_event
                WHERE object_id = o.id AND action = ANY(%s) AND occurred_at <= %s
                  AND (%s::bigint IS NULL OR (payload::json->'after'->>%s)::bigint <= %s)
                ORDER BY audit_event.id DESC LIMIT 1
            ) e
            """,
            [[str(i) for i in object_ids], [action] if isinstance(action, str) else list(action), at, most, number, most],
        )
        return {object_id: json.loads(payload) for object_id, payload in cursor.fetchall()}
