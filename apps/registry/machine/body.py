"""Reads a request's body once, so that what is decided on is what is sent on."""

import json
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest

from apps.core.errors import DomainError, Invalid

CHUNK_BYTES = 512 * 1024


class TooLarge(DomainError):
    """More JSON than one call may carry."""

    status, code, title = 413, "too-large", "The request is too large"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise Invalid(f"The JSON names {key[:100]!r} twice. Name it once.")
        out[key] = value
    return out


def _no_constant(text: str) -> Any:
    raise Invalid(f"{text} is not JSON. Send it as text.")


def json_object(request: HttpRequest) -> dict[str, Any]:
    """The body as a JSON object; {} when it is empty. Raises Invalid for duplicate keys and anything that is no object, TooLarge."""
    try:
        raw = request.body
    except RequestDataTooBig as error:
        raise TooLarge("The request holds more than 8 MiB of JSON. Send it in parts.") from error
    if not raw.strip():
        return {}
    if (request.content_type or "").lower() != "application/json":
        raise Invalid("Content-Type: send application/json.")
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid("The body is not JSON.") from error
    if not isinstance(value, dict):
        raise Invalid("The body is JSON, but not an object.")
    return value


def rewritten(value: dict[str, Any]) -> bytes:
    """JSON of the parsed value: the only form in which it goes on. Raises Invalid for numbers that JSON cannot hold."""
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise Invalid("The body holds a number that is out of range, or is nested too deeply.") from error


def length_of(request: HttpRequest) -> int | None:
    """Bytes announced for the body; None when it comes in chunks. Raises Invalid when nothing tells where it ends."""
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        if not request.META.get("wsgi.input_terminated"):
            raise Invalid("Content-Length: announce the length of the upload.")
        return None
    text = request.META.get("CONTENT_LENGTH") or "0"
    if not str(text).isdigit():
        raise Invalid("Content-Length: give a number of bytes.")
    return int(text)


def pieces(request: HttpRequest, length: int | None) -> Iterator[bytes | memoryview]:
    """The body in pieces, straight from the connection: memory stays constant whatever its size. Each is to be used before the next.

    Raises ConnectionResetError when the caller ends the connection before the length it announced.
    """
    source = request if length is not None else request.META["wsgi.input"]
    reader, sock = getattr(request.META.get("wsgi.input"), "reader", None), request.META.get("gunicorn.socket")
    if length is not None and sock is not None and getattr(reader, "length", None) == length:
        yield from _from_socket(reader, sock, length)
        return
    while piece := source.read(CHUNK_BYTES):
        yield piece


def _from_socket(reader: Any, sock: Any, length: int) -> Iterator[bytes | memoryview]:
    """What gunicorn has read ahead, then the socket itself: gunicorn reads a body in pieces of 1 KiB, and copies each several times."""
    ahead = reader.unreader.take_buffered()
    if len(ahead) > length:
        reader.unreader.unread(ahead[length:])
        ahead = ahead[:length]
    # gunicorn drains what is left of a body by this count before it takes the connection's next request.
    reader.length -= len(ahead)
    if ahead:
        yield ahead
    buffer = memoryview(bytearray(CHUNK_BYTES))
    while reader.length:
        count = sock.recv_into(buffer, min(reader.length, CHUNK_BYTES))
        if not count:
            reader.length = 0
            raise ConnectionResetError("the caller ended the connection")
        reader.length -= count
        yield buffer[:count]
