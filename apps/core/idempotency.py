"""`Idempotency-Key` on posts that start work: the first answer is kept and given again."""

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.apps import apps
from django.db import transaction
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.errors import Conflict, Invalid

Post = Callable[..., Response]


def idempotent(method: Post) -> Post:
    """Decorate a view's `post`, outside `durable`: work and key commit in the one transaction opened here.

    The same key with the same body returns the first answer with `Idempotency-Replayed: true`; with another body it is a 409.
    """

    @wraps(method)
    def wrapper(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        with transaction.atomic(durable=True):
            named = _named(request)
            if named is None:
                return method(view, request, *args, **kwargs)
            digest = _digest(request)
            # A rival with the same key waits here on the unique index until the first has committed.
            row, created = _keys().get_or_create(**named, defaults={"request_hash": digest})
            if not created:
                return _replay(row, digest)
            response = method(view, request, *args, **kwargs)
            row.status, row.answer = response.status_code, _plain(response)
            row.save(update_fields=["status", "answer"])
            return response

    wrapper.is_idempotent = True  # type: ignore[attr-defined]
    return wrapper


def idempotent_around(method: Post) -> Post:
    """`idempotent` for a `post` whose service opens its own transactions and is safe to repeat and to run twice at once.

    The key is written once the work is done: a try that died before does its work again.
    """

    @wraps(method)
    def wrapper(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        named = _named(request)
        if named is None:
            return method(view, request, *args, **kwargs)
        digest = _digest(request)
        if (first := _keys().filter(**named).first()) is not None:
            return _replay(first, digest)
        response = method(view, request, *args, **kwargs)
        with transaction.atomic(durable=True):
            kept = {"request_hash": digest, "status": response.status_code, "answer": _plain(response)}
            row, created = _keys().get_or_create(**named, defaults=kept)
        return response if created else _replay(row, digest)

    wrapper.is_idempotent = True  # type: ignore[attr-defined]
    return wrapper


def _keys() -> Any:
    # By name: keys belong to their owners' app, and apps below it take them too.
    return apps.get_model("accounts", "IdempotencyKey").objects


def _named(request: Request) -> dict[str, Any] | None:
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > 100:
        raise Invalid("Idempotency-Key: at most 100 characters.", errors={"Idempotency-Key": ["At most 100 characters."]})
    actor = actor_of(request)
    return {"owner": actor.user_id or actor.id, "key": key, "path": request.path[:300]} if key else None


def _digest(request: Request) -> str:
    return hashlib.sha256(json.dumps(request.data, sort_keys=True, default=str).encode()).hexdigest()


def _plain(response: Response) -> Any:
    return json.loads(JSONRenderer().render(response.data) or b"null")


def _replay(row: Any, digest: str) -> Response:
    if row.request_hash != digest:
        raise Conflict("Idempotency-Key: this key was used with another body. Use a new key.")
    return Response(row.answer, status=row.status, headers={"Idempotency-Replayed": "true"})
