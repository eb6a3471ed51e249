"""Spans as OpenTelemetry sends them (`/v1/traces`): which experiment and which traces they are for, read from the message itself."""

import zlib
from collections.abc import Iterator

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest

from apps.core.errors import Invalid
from apps.registry.machine import body as bodies
from apps.registry.machine import sent as sents
from apps.registry.machine.sent import Sent

MOST_BYTES = 64 * 1024 * 1024
# Field numbers: ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans, Span.trace_id.
TO_TRACE_ID = (1, 2, 2, 1)


def read(request: HttpRequest, sent: Sent) -> bytes:
    """The message, unpacked; its experiment, run and traces are put among the values. Raises Invalid, TooLarge."""
    if (request.content_type or "").lower() != "application/x-protobuf":
        raise Invalid("Content-Type: send spans as application/x-protobuf.")
    try:
        data = request.body
    except RequestDataTooBig as error:
        raise bodies.TooLarge("The request holds more than 8 MiB of spans. Send them in parts.") from error
    data = _unpacked(data, request.headers.get("Content-Encoding", "").lower())
    sent.values = {"experiment_id": sents.shape("experiment_id", request.headers.get("X-Mlflow-Experiment-Id", ""))}
    if run_id := request.headers.get("X-Mlflow-Run-Id"):
        sent.values["run_id"] = sents.shape("run_id", run_id)
    try:
        # MLflow reads the bytes as one number, so leading zeros do not make another trace.
        ids = {int.from_bytes(found) for found in _at(memoryview(data), TO_TRACE_ID)}
    except (IndexError, ValueError) as error:
        raise Invalid("The body is no OpenTelemetry message.") from error
    if not ids:
        raise Invalid("The message holds no spans.")
    sent.values["trace_ids"] = sorted(f"tr-{each:032x}" for each in ids)
    return data


def headers(request: HttpRequest, sent: Sent) -> dict[str, str]:
    """What MLflow is told with the message."""
    out = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": sent.values["experiment_id"]}
    if "run_id" in sent.values:
        out["x-mlflow-run-id"] = sent.values["run_id"]
    return out


def _unpacked(data: bytes, encoding: str) -> bytes:
    if encoding in {"", "identity"}:
        return data
    if encoding not in {"gzip", "deflate"}:
        raise Invalid("Content-Encoding: send spans as they are, or with gzip or deflate.")
    try:
        unpack = zlib.decompressobj(wbits=31 if encoding == "gzip" else 15)
        out = unpack.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise Invalid("The body is not what Content-Encoding says.") from error
    if unpack.unconsumed_tail or not unpack.eof:
        raise bodies.TooLarge("The request holds more than 64 MiB of spans. Send them in parts.")
    return out


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _at(data: memoryview, way: tuple[int, ...]) -> Iterator[memoryview]:
    """Every value found by going down these field numbers of a protobuf message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is longer than its message")
            inner, at = data[at : at + length], at + length
            if number == way[0]:
                if len(way) == 1:
                    yield inner
                else:
                    yield from _at(inner, way[1:])
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in {1, 5}:
            at += 8 if kind == 1 else 4
            if at > len(data):
                raise ValueError("a number is longer than its message")
        else:
            raise ValueError("an unknown kind of field")
