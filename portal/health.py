"""Is the process alive, and can it serve?"""

from pathlib import Path

import redis
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from apps.core.errors import NotFound


def healthz(request: HttpRequest) -> JsonResponse:
    """Alive: answers without touching anything else."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Ready: pages and REST can be served, which takes the database; 503 without it. The other checks say what is delayed meanwhile."""
    checks: dict[str, str] = {}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        checks["database"] = "ok"
    except Exception as error:  # noqa: BLE001 - any failure here means not ready
        checks["database"] = type(error).__name__
    try:
        redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2).ping()
        checks["redis"] = "ok"
    except Exception as error:  # noqa: BLE001
        checks["redis"] = type(error).__name__
    checks["order_public_key"] = "ok" if Path(settings.ORDER_PUBLIC_KEYS).exists() else "missing"
    ok = checks["database"] == "ok"
    return JsonResponse({"status": "ready" if ok else "not ready", "checks": checks}, status=200 if ok else 503)


@csrf_exempt
def no_such_address(request: HttpRequest) -> JsonResponse:
    """An address below /api/ that is none, as problem details."""
    error = NotFound("There is nothing at this address. Addresses end with a slash; /api/docs/ lists them.")
    return JsonResponse(error.problem(), status=404, content_type="application/problem+json")
