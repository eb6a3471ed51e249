"""A small Open Inference server for the gateway's tests: real HTTP, real sums, told apart by `--bias`.

Prediction is the rounded sum of a row plus the bias. Run with the gateway's interpreter.
"""

import argparse
import asyncio
import json
import os
from typing import Any

from aiohttp import web


def rows_of(inputs: list[dict[str, Any]]) -> list[list[float]]:
    if len(inputs) == 1 and len(inputs[0]["shape"]) == 2:
        width = inputs[0]["shape"][1]
        flat = [x for row in inputs[0]["data"] for x in (row if isinstance(row, list) else [row])]
        return [flat[i : i + width] for i in range(0, len(flat), width)]
    columns = [[x[0] if isinstance(x, list) else x for x in tensor["data"]] for tensor in inputs]
    return [list(row) for row in zip(*columns, strict=True)]


class Engine:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.seen: list[dict[str, Any]] = []
        self.peers: set[Any] = set()

    async def infer(self, request: web.Request) -> web.Response:
        raw = await request.read()
        peer = request.transport.get_extra_info("peername") if request.transport else None
        self.peers.add(peer)
        self.seen = [
            *self.seen[-9:],
            {"headers": dict(request.headers), "path": request.path, "body": raw.decode()},
        ]
        body = json.loads(raw)
        mode = (body.get("parameters") or {}).get("mode")
        if mode == "die":
            os._exit(1)
        if mode == "broken":
            return web.Response(body=b"<html>not JSON", content_type="text/html")
        if mode == "fault":
            return web.json_response({"error": "secret stack trace of the engine"}, status=500)
        if mode == "refuse":
            return web.json_response({"error": "column 'age' is missing"}, status=400)
        delay_s = self.options.delay_s if mode != "slow" else 60
        if delay_s:
            await asyncio.sleep(delay_s)
        try:
            totals = [sum(row) + self.options.bias for row in rows_of(body["inputs"])]
        except (TypeError, ValueError) as error:
            return web.json_response({"error": f"the columns do not fit: {error}"}, status=422)
        n = len(totals)
        answer = {
            "model_name": self.options.model,
            "id": "chosen by the engine",
            "outputs": [
                {"name": "probability", "shape": [n], "datatype": "FP64", "data": [t % 1 for t in totals]},
                {"name": "prediction", "shape": [n], "datatype": "INT64", "data": [round(t) for t in totals]},
            ],
        }
        return web.json_response(answer, headers={"Set-Cookie": "a=b", "X-Engine": "internal"})

    async def metadata(self, request: web.Request) -> web.Response:
        inputs = [{"name": "a", "datatype": "FP64", "shape": [-1]}]
        return web.json_response(
            {"name": self.options.model, "platform": "test", "inputs": inputs, "outputs": []}
        )

    async def ready(self, request: web.Request) -> web.Response:
        return web.json_response({"name": self.options.model, "ready": True})

    async def tell(self, request: web.Request) -> web.Response:
        return web.json_response({"seen": self.seen, "connections": len(self.peers)})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="model")
    parser.add_argument("--bias", type=float, default=0.0)
    parser.add_argument("--delay-s", type=float, default=0.0)
    engine = Engine(parser.parse_args())
    app = web.Application(client_max_size=64 * 1024 * 1024)
    model = f"/v2/models/{engine.options.model}"
    app.router.add_post(f"{model}/infer", engine.infer)
    app.router.add_get(model, engine.metadata)
    app.router.add_get(f"{model}/ready", engine.ready)
    app.router.add_get("/seen", engine.tell)
    web.run_app(app, host="127.0.0.1", port=engine.options.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
