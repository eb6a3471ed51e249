"""One inference: choose a route, ask the engine, write it down, answer; then the shadows."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway import logs, oip
from gateway.capture import Capture, CaptureFailed
from gateway.engines import EngineFailed, Engines, EngineTimeout, NotSent
from gateway.metrics import Metrics
from gateway.problems import Problem, unavailable
from gateway.snapshot import Endpoint, Route, choose

log = logging.getLogger("gateway.proxy")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST_SHADOWS = 64
_REFUSED_BY_ENGINE = frozenset({400, 413, 415, 422})


@dataclass(slots=True)
class Inference:
    """A request on its way through."""

    request_id: str
    endpoint: Endpoint
    body: bytes
    client_id: str | None
    rows: int
    tensors: int
    received_at: datetime
    started_at: float
    """perf_counter() when the request came in."""
    route: Route | None = None


class Proxy:
    """Carries inferences to engines and their answers into the captures."""

    def __init__(self, engines: Engines, capture: Capture, metrics: Metrics) -> None:
        self._engines = engines
        self._capture = capture
        self._metrics = metrics
        self._shadows: set[asyncio.Task[None]] = set()

    async def infer(self, inference: Inference, *, version: str | None) -> bytes:
        """The public answer, already captured. Raises Problem; `inference.route` says who was asked."""
        try:
            answer = await self._ask(inference, version)
        except Problem as problem:
            if inference.route is not None:
                self._keep(inference, inference.route, problem.status, None, inference.started_at)
            raise
        assert inference.route is not None
        self._keep(inference, inference.route, 200, answer, inference.started_at)
        return answer

    def mirror(self, inference: Inference) -> None:
        """Send copies to the shadow routes. The caller has its answer already and does not wait."""
        for route in inference.endpoint.shadows:
            if len(self._shadows) >= _MOST_SHADOWS:
                self._metrics.shadows_dropped.add(inference.endpoint.slug)
                continue
            task = asyncio.create_task(self._mirror_to(inference, route))
            self._shadows.add(task)
            task.add_done_callback(self._shadows.discard)

    async def drain(self) -> None:
        """Wait for the shadow copies under way."""
        if self._shadows:
            await asyncio.wait(self._shadows)

    async def _ask(self, inference: Inference, version: str | None) -> bytes:
        endpoint = inference.endpoint
        routes = list(endpoint.routes(version))
        if not routes:
            if version is not None:
                raise Problem(404, "not-found", f"Version {version!r} is not routed at this endpoint.")
            raise unavailable("no-route", "No model is deployed at this endpoint now.", retry_after_s=5)
        route = choose(routes, inference.request_id)
        assert route is not None
        inference.route = route
        try:
            return await self._ask_route(inference, route)
        except NotSent as error:
            self._down(inference, route, error)
            routes.remove(route)
        # Nothing was sent, so asking another one cannot do the work twice. Once: no storm when all are down.
        other = choose(routes, inference.request_id)
        if other is None:
            raise unavailable("engine-failed", "The model server is not running; it is being restarted.")
        self._metrics.retries.add(endpoint.slug)
        inference.route = other
        try:
            return await self._ask_route(inference, other)
        except NotSent as error:
            self._down(inference, other, error)
            raise unavailable(
                "engine-failed", "No model server of this endpoint is running; they are being restarted."
            ) from error

    async def _ask_route(self, inference: Inference, route: Route) -> bytes:
        url = f"{route.model_url}/infer"
        try:
            status, answer, seconds = await self._engines.post(
                url, inference.body, request_id=inference.request_id
            )
        except EngineTimeout as error:
            self._down(inference, route, error)
            raise Problem(504, "engine-timeout", "The model did not answer in time. Try again.") from error
        except EngineFailed as error:
            self._down(inference, route, error)
            raise unavailable("engine-failed", "The model server broke off. Try again.") from error
        self._metrics.engine.observe(seconds, route.deployment_id)
        if status in _REFUSED_BY_ENGINE:
            said = oip.error_of(answer) or "The model refused the inputs; compare them with its signature."
            raise Problem(422, "invalid", said)
        if status != 200:
            self._down(inference, route, f"status {status}")
            raise unavailable("engine-failed", "The model could not compute an answer. Try again.")
        try:
            return oip.public_answer(
                answer,
                model_name=inference.endpoint.slug,
                model_version=route.version,
                request_id=inference.client_id or inference.request_id,
            )
        except ValueError as error:
            self._down(inference, route, error)
            raise unavailable("engine-failed", "The model server's answer is not readable.") from error

    async def _mirror_to(self, inference: Inference, route: Route) -> None:
        started_at = time.perf_counter()
        answer: bytes | None = None
        status = 200
        try:
            answer = await self._ask_route(inference, route)
        except NotSent as error:
            self._down(inference, route, error)
            status = 503
        except Problem as problem:
            status = problem.status
        self._metrics.shadows.add(inference.endpoint.slug, route.deployment_id, str(status))
        try:
            self._keep(inference, route, status, answer, started_at, shadow=True)
        except Problem as problem:
            logs.event(log, logging.ERROR, "a shadow answer was not captured", why=problem.detail)

    def _keep(
        self,
        inference: Inference,
        route: Route,
        status: int,
        answer: bytes | None,
        started_at: float,
        *,
        shadow: bool = False,
    ) -> None:
        meta = {
            "request_id": inference.request_id,
            "endpoint_id": inference.endpoint.id,
            "deployment_id": route.deployment_id,
            "model_version": route.model_version,
            "shadow": shadow,
            "received_at_us": (inference.received_at - _EPOCH) // _MICROSECOND,
            "latency_ms": round((time.perf_counter() - started_at) * 1000, 3),
            "status": status,
            "client_id": inference.client_id,
        }
        # Named columns carry their names; only a single matrix needs them written beside it.
        if inference.tensors == 1 and inference.endpoint.feature_names is not None:
            meta["feature_names"] = inference.endpoint.feature_names
        try:
            self._capture.append(oip.spool_line(meta, inference.body, answer), rows=inference.rows)
        except CaptureFailed as error:
            logs.event(
                log,
                logging.ERROR,
                "a prediction was not captured and not answered",
                request_id=inference.request_id,
                why=str(error),
            )
            raise unavailable(
                "not-captured", "The prediction could not be recorded, so it is not given.", retry_after_s=5
            ) from error

    def _down(self, inference: Inference, route: Route, why: object) -> None:
        logs.event(
            log,
            logging.WARNING,
            "an engine did not answer",
            request_id=inference.request_id,
            endpoint=inference.endpoint.slug,
            deployment_id=route.deployment_id,
            model_version=route.model_version,
            why=str(why),
        )
