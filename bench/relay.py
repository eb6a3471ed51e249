"""The least that a checking proxy in the portal's own web server can cost: a WSGI application that only passes a request on.

gunicorn bench.relay:application, with BENCH_RELAY_PORT set. No sign-in, no checks, no trail, no Django; kept connections to the target.
"""

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

_kept = threading.local()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Ask the target the same, and give its answer."""
    if environ["PATH_INFO"] == "/healthz":
        start_response("200 OK", [("Content-Length", "0")])
        return []
    # Below what the target keeps an idle connection for.
    if time.monotonic() - getattr(_kept, "used_at", 0) > 2:
        _kept.connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["BENCH_RELAY_PORT"]), timeout=60)
    _kept.used_at = time.monotonic()
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or None
    path = environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else "")
    _kept.connection.request(environ["REQUEST_METHOD"], path, body, {"Content-Type": "application/json"} if body else {})
    answer = _kept.connection.getresponse()
    data = answer.read()
    start_response(f"{answer.status} {answer.reason}", [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]
