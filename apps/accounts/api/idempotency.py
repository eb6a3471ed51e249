"""`Idempotency-Key` on posts that start work: the first answer is kept and given again."""

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import transaction
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.models import IdempotencyKey
from apps.core.api import actor_of
from apps.core.errors import Conflict, Invalid


def idempotent(method: Callable[..., Response]) -> Callable[..., Response]:
    """Decorate a view's `post`, outside `durable`: work and key commit in the one transaction opened here.

    The same key with the same body returns the first answer with `Idempotency-Replayed: true`; with another body it is a 409.
    """

    @wraps(method)
    def wrapper(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        with transaction.atomic(durable=True):
            key = request.headers.get("Idempotency-Key", "")
            if not key:
                return method(view, request, *args, **kwargs)
            if len(key) > 100:
                raise Invalid("Idempotency-Key: at most 100 characters.", errors={"Idempotency-Key": ["At most 100 characters."]})
            digest = hashlib.sha256(json.dumps(request.data, sort_keys=True, default=str).encode()).hexdigest()
            owner = actor_of(request).user_id or actor_of(request).id
            # A rival with the same key waits here on the unique index until the first has committed.
            row, created = IdempotencyKey.objects.get_or_create(
                owner=owner, key=key, path=request.path[:300], defaults={"request_hash": digest}
            )
            if not created:
                if row.request_hash != digest:
                    raise Conflict("Idempotency-Key: this key was used with another body. Use a new key.")
                return Response(row.answer, status=row.status, headers={"Idempotency-Replayed": "true"})
            response = method(view, request, *args, **kwargs)
            row.status, row.answer = response.status_code, json.loads(JSONRenderer().render(response.data) or b"null")
            row.save(update_fields=["status", "answer"])
            return response

    wrapper.is_idempotent = True  # type: ignore[attr-defined]
    return wrapper
