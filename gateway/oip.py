"""The Open Inference Protocol as far as the gateway reads it. Tensor data stays the text it was."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.problems import Problem

_LONGEST_ID = 256


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    data: msgspec.Raw
    datatype: str = ""


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str | None = None


class _Answer(msgspec.Struct):
    outputs: msgspec.Raw
    parameters: msgspec.Raw | None = None


_request_decoder = msgspec.json.Decoder(_Request)
_answer_decoder = msgspec.json.Decoder(_Answer)
_encode = msgspec.json.Encoder().encode


def read_request(body: bytes, *, max_rows: int) -> tuple[str | None, int, int]:
    """The caller's id, if any, how many rows, and how many tensors. Raises Problem 422 naming the field."""
    try:
        body.decode("utf-8")
        request = _request_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid", f"The body is not an inference request: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(422, "invalid", "The body is not JSON in UTF-8.") from error
    if not request.inputs:
        raise Problem(422, "invalid", "inputs: give at least one tensor.")
    if request.id is not None and len(request.id) > _LONGEST_ID:
        raise Problem(422, "invalid", f"id: at most {_LONGEST_ID} characters.")
    rows = request.inputs[0].shape[0] if request.inputs[0].shape else 0
    for tensor in request.inputs:
        if not tensor.shape or tensor.shape[0] != rows or min(tensor.shape) < 1:
            raise Problem(
                422,
                "invalid",
                f"inputs {tensor.name!r}: shape must begin with the same number of rows as the others,"
                " and every size must be 1 or more.",
            )
    if rows > max_rows:
        raise Problem(422, "invalid", f"inputs: at most {max_rows} rows in a request; send several.")
    return request.id or None, rows, len(request.inputs)


def public_answer(answer: bytes, *, model_name: str, model_version: str, request_id: str) -> bytes:
    """The engine's answer under the public name, version and id. Raises ValueError if it is not one."""
    try:
        answer.decode("utf-8")
        parsed = _answer_decoder.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("not an inference answer") from error
    public: dict[str, Any] = {"model_name": model_name, "model_version": model_version, "id": request_id}
    if parsed.parameters is not None:
        public["parameters"] = parsed.parameters
    public["outputs"] = parsed.outputs
    return _encode(public)


def spool_line(meta: dict[str, Any], request: bytes, answer: bytes | None) -> bytes:
    """One line for the spool: what the gateway knows, the request and the answer, both as they were."""
    # Between tokens is the only place where valid JSON may hold a raw newline, so a space does as well.
    request = request.replace(b"\n", b" ") if b"\n" in request else request
    line: dict[str, Any] = {"m": meta, "q": msgspec.Raw(request)}
    if answer is not None:
        line["a"] = msgspec.Raw(answer.replace(b"\n", b" ") if b"\n" in answer else answer)
    return _encode(line) + b"\n"


def error_of(answer: bytes) -> str:
    """What an engine says is wrong with a request, shortened; empty when it does not say."""
    try:
        said = msgspec.json.decode(answer)
    except (msgspec.DecodeError, RecursionError):
        return ""
    text = said.get("error") or said.get("detail") if isinstance(said, dict) else None
    return text[:1_000] if isinstance(text, str) else ""


def json_object(answer: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError."""
    try:
        value = msgspec.json.decode(answer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("not JSON") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


encode = _encode
