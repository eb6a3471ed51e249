"""What goes back: MLflow's answer in our dress, or a refusal in MLflow's own words."""

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

from apps.accounts.selectors import client_ip
from apps.core.errors import UpstreamFailed
from apps.registry.gateways import forward

PASSED_ON = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified")
# Of the caller's own headers these alone: never a cookie, token or origin.
ASKED_ON = ("Range", "If-Range", "If-None-Match", "If-Modified-Since")
CODES = {
    400: "INVALID_PARAMETER_VALUE", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST",
    405: "BAD_REQUEST", 409: "PERMISSION_DENIED", 413: "INVALID_PARAMETER_VALUE", 501: "NOT_IMPLEMENTED",
}  # fmt: skip
MOST_ANSWER_BYTES = 64 * 1024 * 1024


def refusal(status: int, message: str) -> JsonResponse:
    """MLflow's own error format: its client prints `CODE: message`. A conflict becomes 403, which the client does not try again."""
    code = CODES.get(status, "TEMPORARILY_UNAVAILABLE" if status >= 502 else "BAD_REQUEST")
    response = JsonResponse({"error_code": code, "message": message}, status=403 if status == 409 else status)
    if status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="gatehouse"'
    return response


def headers(request: HttpRequest) -> dict[str, str]:
    """What MLflow is told of the request. Without the first header it takes the caller for a local one and offers it more."""
    out = {"X-Forwarded-For": client_ip(request) or "0.0.0.0", "Accept": "*/*"}  # noqa: S104
    for name in ASKED_ON:
        if name in request.headers:
            out[name] = request.headers[name]
    return out


def dress(response: Any, answer: forward.Answer) -> Any:
    """MLflow's answer with its own few headers and ours."""
    for name in PASSED_ON:
        if (value := answer.headers.get(name)) is not None:
            response[name] = value
    # An artifact may be a web page: it must never run as one of ours.
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["Content-Disposition"] = "attachment"
    response["Cache-Control"] = "private, no-store"
    return response


def streamed(answer: forward.Answer) -> StreamingHttpResponse:
    """An answer passed on as it comes. Never a redirect, whose address would be MLflow's own."""
    not_redirect(answer)
    return dress(StreamingHttpResponse(answer, status=answer.status), answer)


def whole(answer: forward.Answer, data: bytes) -> HttpResponse:
    """An answer that has been read."""
    response = dress(HttpResponse(data, status=answer.status), answer)
    response["Content-Length"] = str(len(data))
    return response


def made(value: dict[str, Any]) -> HttpResponse:
    """An answer of our own."""
    response = JsonResponse(value)
    response["Cache-Control"] = "private, no-store"
    return response


def not_redirect(answer: forward.Answer) -> None:
    """Refuse a redirect of MLflow's (304 is none), and what is no answer of MLflow's: a server that is about to start or to end."""
    if answer.status >= 500 and "json" not in str(answer.headers.get("Content-Type") or ""):
        answer.close()
        raise UpstreamFailed(f"MLflow answered {answer.status} in words of its server, not of its own: it may be starting anew.")
    if 300 <= answer.status < 400 and answer.status != 304:
        answer.close()
        raise UpstreamFailed("MLflow sent a redirect, which is not passed on.")


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object in an answer, {} for anything else."""
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
