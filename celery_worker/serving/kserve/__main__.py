"""Serve one model folder over the Open Inference Protocol on loopback, inside KServe's ModelServer.

Started by the agent as `python -I <this folder> --folder F --name N --socket FD --start-id ID --lock PATH`. The
listening socket is inherited, so no other process can take the port between choosing and using it. Every infer
request in JSON is answered by `FrontDoor`; all else (health, metadata, metrics, the binary extension) by the SDK.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import socket
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import orjson
from checks import InvalidRequest, Schema, output_tensor
from flavours import CannotServe, Served, load

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
INLINE_MS: Final = 5.0
INLINE_ROWS: Final = 64
JSON_HEADERS: Final = [(b"content-type", b"application/json")]

Scope = dict[str, Any]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; `--port` serves people who start the engine by hand."""
    parser = argparse.ArgumentParser(prog="engine", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", default="")
    parser.add_argument("--socket", type=int)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--start-id", default="")
    parser.add_argument("--lock", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


class Answerer:
    """From the bytes of a request to the bytes of its answer."""

    def __init__(self, served: Served, name: str, version: str, threads: int) -> None:
        self.served = served
        self.name = name
        self.version = version
        self.pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="predict")
        self.slow = self._warm_up() > INLINE_MS

    def _warm_up(self) -> float:
        """Milliseconds of a small prediction, after the first one has paid for what is built lazily."""
        self.served.predict(self.served.example)
        started = time.perf_counter()
        self.served.predict(self.served.example)
        return (time.perf_counter() - started) * 1000

    def describe_outputs(self) -> list[dict[str, Any]]:
        """The outputs as the protocol's metadata shows them, read off a real answer."""
        prediction, probability = self.served.predict(self.served.example)
        tensors = [output_tensor("prediction", prediction)]
        if probability is not None:
            tensors.append(output_tensor("probability", probability))
        return [{"name": t["name"], "datatype": t["datatype"], "shape": [-1, *t["shape"][1:]]} for t in tensors]

    async def answer(self, request: Any) -> dict[str, Any]:
        """The response object for a parsed request. Raises InvalidRequest."""
        batch = self.served.schema.read(request)
        wanted = _wanted_outputs(request)
        if self.slow or batch.rows > INLINE_ROWS:
            # A long prediction must not keep the health checks waiting.
            loop = asyncio.get_running_loop()
            prediction, probability = await loop.run_in_executor(self.pool, self.served.predict, batch)
        else:
            prediction, probability = self.served.predict(batch)
        outputs = [output_tensor("prediction", prediction)]
        if probability is not None:
            outputs.append(output_tensor("probability", probability))
        if wanted is not None:
            outputs = [output for output in outputs if output["name"] in wanted]
        response: dict[str, Any] = {"model_name": self.name, "outputs": outputs}
        if self.version:
            response["model_version"] = self.version
        if isinstance(request.get("id"), str):
            response["id"] = request["id"]
        return response


def _wanted_outputs(request: dict[str, Any]) -> set[str] | None:
    wanted = request.get("outputs")
    if wanted is None:
        return None
    names = {entry.get("name") for entry in wanted if isinstance(entry, dict)} if isinstance(wanted, list) else set()
    if not names or not names <= {"prediction", "probability"}:
        raise InvalidRequest(400, "outputs may name 'prediction' and 'probability'.")
    return names


class FrontDoor:
    """ASGI: answers infer itself, lets the SDK answer health, metadata and metrics, and nothing else."""

    def __init__(self, app: Any, answerer: Answerer, histogram: Any) -> None:
        self.app = app
        self.answerer = answerer
        self.histogram = histogram
        self.infer_path = f"/v2/models/{answerer.name}/infer"

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Route one connection event; see the class."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        binary = any(name == b"inference-header-content-length" for name, _ in scope["headers"])
        if path == self.infer_path and scope["method"] == "POST" and not binary:
            await self._infer(receive, send)
            return
        if path == "/metrics" or (path.startswith("/v2") and not path.startswith("/v2/repository")):
            await self.app(scope, receive, send)
            return
        await _send(send, 404, {"error": "This engine serves /v2 of the Open Inference Protocol only."})

    async def _infer(self, receive: Any, send: Any) -> None:
        started = time.perf_counter()
        message = await receive()
        body = message.get("body", b"")
        while message.get("more_body", False):
            message = await receive()
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                await _send(send, 413, {"error": f"The body is larger than {MAX_BODY_BYTES} bytes."})
                return
        try:
            response = await self.answerer.answer(orjson.loads(body))
        except orjson.JSONDecodeError:
            await _send(send, 400, {"error": "The body is not JSON."})
        except InvalidRequest as error:
            await _send(send, error.status, {"error": error.detail})
        except Exception:
            logging.getLogger("engine").exception("prediction failed")
            await _send(send, 500, {"error": "The model failed on this input; the engine's log says why."})
        else:
            await _send(send, 200, response)
            self.histogram.observe(time.perf_counter() - started)


async def _send(send: Any, status: int, content: dict[str, Any]) -> None:
    body = orjson.dumps(content)
    headers = [*JSON_HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(answerer: Answerer, listening: socket.socket) -> None:
    """Run KServe's ModelServer on an already listening loopback socket until SIGTERM."""
    # The SDK reads the command line at import; ours is not its own.
    sys.argv = sys.argv[:1]
    import kserve.model_server
    from kserve import InferRequest, InferResponse, Model, ModelServer
    from kserve.errors import InvalidInput
    from kserve.metrics import PREDICT_HIST_TIME, get_labels
    from kserve.protocol.infer_type import InferOutput
    from kserve.protocol.rest.server import RESTServer

    class SdkModel(Model):  # type: ignore[misc]
        """The same answerer behind the SDK's own handlers (metadata, readiness, binary tensors)."""

        def load(self) -> bool:
            self.ready = True
            return True

        def get_input_types(self) -> list[dict[str, Any]]:
            return answerer.served.schema.describe()

        def get_output_types(self) -> list[dict[str, Any]]:
            return answerer.describe_outputs()

        async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
            if not isinstance(payload, InferRequest):
                raise InvalidInput("Send an Open Inference Protocol V2 request.")
            inputs = [
                {"name": i.name, "shape": list(i.shape), "datatype": i.datatype, "data": _plain_data(i.as_numpy())} for i in payload.inputs
            ]
            try:
                found = await answerer.answer({"inputs": inputs})
            except InvalidRequest as error:
                raise InvalidInput(error.detail) from error
            outputs = [InferOutput(**output) for output in found["outputs"]]
            # The SDK refuses its own answer when it has no id.
            answer_id = payload.id or str(uuid.uuid4())
            return InferResponse(response_id=answer_id, model_name=self.name, infer_outputs=outputs)

    class LoopbackServer(RESTServer):  # type: ignore[misc]
        """The SDK's REST server on our socket, without a log line for every request."""

        def create_application(self) -> None:
            super().create_application()
            histogram = PREDICT_HIST_TIME.labels(**get_labels(answerer.name))
            self.config.app = FrontDoor(kserve.model_server.app, answerer, histogram)
            for name in ("uvicorn.access", "kserve.trace"):
                logging.getLogger(name).setLevel(logging.WARNING)

        async def start(self) -> None:
            self.create_application()
            await self._server.serve(sockets=[listening])

    kserve.model_server.RESTServer = LoopbackServer
    model = SdkModel(answerer.name)
    model.load()
    ModelServer(enable_grpc=False, workers=1, grace_period=5).start([model])


def _plain_data(values: Any) -> list[Any]:
    flat = values.ravel().tolist()
    return [value.decode("utf-8") if isinstance(value, bytes) else value for value in flat]


def main(arguments: list[str]) -> int:
    """Load, listen, serve. Exit status 2: the model cannot be served; 3: another engine holds the lock."""
    options = parse(arguments)
    if options.lock is not None:
        # Held until this process ends: a second engine for the same deployment cannot exist, whatever starts it.
        lock = os.open(options.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Another engine already serves this deployment.", file=sys.stderr)
            return 3
    try:
        served = load(options.folder)
        answerer = Answerer(served, options.name, options.version, max(1, options.threads))
    except CannotServe as error:
        print(error, file=sys.stderr)
        return 2
    if options.socket is not None:
        listening = socket.socket(fileno=options.socket)
    else:
        listening = socket.create_server(("127.0.0.1", options.port))
    # Head and body of an answer are two writes; without this the second would wait for the client's delayed ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(f"serving {options.name} ({served.flavour}) on port {listening.getsockname()[1]}", flush=True)
    serve(answerer, listening)
    return 0


__all__ = ["Answerer", "FrontDoor", "Schema", "main"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
