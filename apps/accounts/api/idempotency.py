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
            known = _named(request)
            if known is None:
                return method(view, request, *args, **kwargs)
            # A rival with the same key waits here on the unique index until the first has committed.
            row, created = IdempotencyKey.objects.get_or_create(**known)
            if not created:
                return _again(row, known)
            response = method(view, request, *args, **kwargs)
            row.status, row.answer = response.status_code, _plain(response)
            row.save(update_fields=["status", "answer"])
            return response

    wrapper.is_idempotent = True  # type: ignore[attr-defined]
    return wrapper


def idempotent_apart(method: Callable[..., Response]) -> Callable[..., Response]:
    """`idempotent` for a `post` whose service opens transactions of its own and does no harm when it is repeated.

    The answer is kept after the work. After a crash between the two, or beside a rival, the work is done once more.
    """

    @wraps(method)
    def wrapper(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        known = _named(request)
        if known is None:
            return method(view, request, *args, **kwargs)
        row = IdempotencyKey.objects.filter(**{name: known[name] for name in ("owner", "key", "path")}).first()
        if row is not None:
            return _again(row, known)
        response = method(view, request, *args, **kwargs)
        kept = {"status": response.status_code, "answer": _plain(response)}
        with transaction.atomic(durable=True):
            row, created = IdempotencyKey.objects.get_or_create(**known | {"defaults": known["defaults"] | kept})
        return response if created else _again(row, known)

    wrapper.is_idempotent = True  # type: ignore[attr-defined]
    return wrapper


def _named(request: Request) -> dict[str, Any] | None:
    """What finds or makes the row of the request's key, None without one."""
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        return None
    if len(key) > 100:
        raise Invalid("Idempotency-Key: at most 100 characters.", errors={"Idempotency-Key": ["At most 100 characters."]})
    digest = hashlib.sha256(json.dumps(request.data, sort_keys=True, default=str).encode()).hexdigest()
    owner = actor_of(request).user_id or actor_of(request).id
    return {"owner": owner, "key": key, "path": request.path[:300], "defaults": {"request_hash": digest}}


def _again(row: IdempotencyKey, known: dict[str, Any]) -> Response:
    """The answer that was kept."""
    if row.request_hash != known["defaults"]["request_hash"]:
        raise Conflict("Idempotency-Key: this key was used with another body. Use a new key.")
    return Response(row.answer, status=row.status, headers={"Idempotency-Replayed": "true"})


def _plain(response: Response) -> Any:
    return json.loads(JSONRenderer().render(response.data) or b"null")
