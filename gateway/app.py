"""The ASGI application: who may ask what, and how every answer and refusal leaves."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

from gateway import __version__, auth, cohorts, logs, oip, problems
from gateway.calls import (
    JSON_HEADERS,
    PROBLEM_HEADERS,
    TEXT_HEADERS,
    Call,
    Receive,
    Scope,
    Send,
    check_head,
    is_local,
    new_request_id,
    too_large,
)
from gateway.capture import Capture
from gateway.config import Settings
from gateway.engines import EngineFailed, Engines, EngineTimeout, NotSent
from gateway.limits import Limiter
from gateway.metrics import Metrics
from gateway.problems import Problem
from gateway.proxy import Inference, Proxy
from gateway.routing import Routing
from gateway.snapshot import Endpoint, Rollout
from gateway.tally import Tally

log = logging.getLogger("gateway.app")


class Gateway:
    """One ASGI application for one process. `claim` it before the server starts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.routing = Routing(settings, self.metrics)
        self.capture = Capture(settings, self.metrics)
        self.tally = Tally(settings, self.metrics)
        self._in_flight = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._engines: Engines
        self._limiter: Limiter
        self._proxy: Proxy

    def claim(self) -> None:
        """Take the state folder, read what is in it. Raises StateFolderBusy or what reading raises."""
        self.capture.claim()
        self.routing.load()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._engines = Engines(self.settings)
                self._limiter = Limiter(self.settings.redis_url, self.metrics)
                self._proxy = Proxy(self._engines, self.capture, self.metrics)
                self.capture.start()
                self._tasks = [
                    asyncio.create_task(self.routing.run(), name="routing"),
                    asyncio.create_task(self.tally.run(), name="tally"),
                ]
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                # The server has answered what was under way; what is left is written down and closed.
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._proxy.drain()
                await self.capture.stop()
                await self._limiter.close()
                self._engines.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at = time.perf_counter()
        call = Call(scope, receive, send, new_request_id(), datetime.now(UTC), started_at)
        try:
            await self._dispatch(call)
        except Problem as problem:
            await self._refuse(call, problem)
        except Exception:
            log.exception("a request failed", extra={"fields": {"request_id": call.request_id}})
            if not call.answered:
                await self._refuse(call, Problem(500, "fault", "Try again; if it lasts, report the id."))
        if call.endpoint is not None:
            status, deployment = str(call.status), call.deployment_id
            self.metrics.requests.add(call.endpoint.slug, deployment, status)
            self.metrics.latency.observe(time.perf_counter() - started_at, call.endpoint.slug)
        elif call.status >= 400:
            self.metrics.requests.add("", "", str(call.status))

    async def _dispatch(self, call: Call) -> None:
        path = call.scope["path"]
        if path.startswith("/v2/models/"):
            await self._model(call, path[len("/v2/models/") :].split("/"))
        elif path == "/v2/health/live" or path == "/healthz":
            call.allow("GET", "HEAD")
            await call.answer(200, JSON_HEADERS, b'{"live":true}' if path[1] == "v" else b'{"status":"ok"}')
        elif path == "/v2/health/ready":
            call.allow("GET", "HEAD")
            await self._ready(call)
        elif path == "/v2" or path == "/v2/":
            call.allow("GET")
            body = {"name": "gatehouse-gateway", "version": __version__, "extensions": []}
            await call.answer(200, JSON_HEADERS, oip.encode(body))
        elif path == "/metrics" and is_local(call.scope):
            call.allow("GET")
            self._measure()
            await call.answer(200, TEXT_HEADERS, self.metrics.render())
        else:
            raise _not_found()

    async def _model(self, call: Call, parts: list[str]) -> None:
        """`<slug>[/versions/<n>][/infer|/ready]`."""
        endpoint = call.endpoint = self._authorised(call, parts[0])
        version: str | None = None
        rest = parts[1:]
        if len(rest) >= 2 and rest[0] == "versions" and rest[1]:
            version, rest = rest[1], rest[2:]
        if rest == ["infer"]:
            call.allow("POST")
            await self._infer(call, endpoint, version)
        elif rest == []:
            call.allow("GET")
            await self._limit(endpoint)
            await self._describe(call, endpoint, version)
        elif rest == ["ready"]:
            call.allow("GET")
            await self._limit(endpoint)
            await self._model_ready(call, endpoint, version)
        else:
            raise _not_found()

    def _authorised(self, call: Call, slug: str) -> Endpoint:
        snapshot = self.routing.current
        digest = auth.key_digest(call.scope["headers"])
        if snapshot is None:
            raise problems.unavailable("not-ready", "The gateway has no routing yet; it is asking for it.")
        if digest is None or digest not in snapshot.key_digests:
            raise Problem(
                401,
                "sign-in-needed",
                "Send the endpoint's key as `Authorization: Bearer ghe_...`.",
                headers=[(b"www-authenticate", b'Bearer realm="gatehouse"')],
            )
        endpoint = snapshot.endpoints.get(slug)
        # A good key for another endpoint learns no more than that this one is not for it.
        call.caller = auth.caller(endpoint, digest) if endpoint is not None else None
        if endpoint is None or call.caller is None:
            raise _not_found()
        return endpoint

    def _check_open(self, call: Call, endpoint: Endpoint, rollout: Rollout) -> None:
        """Raise Problem 403 unless production is open to the user behind the call, by the phases that were decided."""
        caller = call.caller
        assert caller is not None
        now = call.received_at.timestamp()
        if caller.open_percent < cohorts.EVERYBODY:
            user = cohorts.user_of(call.scope["headers"])
            mark = cohorts.mark(rollout.salt, f"user:{user}" if user is not None else f"key:{caller.key_id}")
            if mark >= caller.open_percent:
                phase = cohorts.coming(rollout.phases, caller.groups, mark)
                self.tally.refuse(endpoint.id, endpoint.slug, caller.key_id, phase.name if phase else "", now)
                raise cohorts.refusal(phase, by_user=user is not None)
        self.tally.admit(endpoint.id, caller.key_id, now)

    async def _limit(self, endpoint: Endpoint) -> None:
        wait_s = await self._limiter.take(endpoint)
        if wait_s > 0:
            raise problems.too_many(wait_s)

    async def _infer(self, call: Call, endpoint: Endpoint, version: str | None) -> None:
        check_head(call.scope["headers"], self.settings.max_body_bytes)
        if endpoint.rollout is not None:
            self._check_open(call, endpoint, endpoint.rollout)
        elif call.caller is not None:
            self.tally.admit(endpoint.id, call.caller.key_id, call.received_at.timestamp())
        if self._in_flight >= self.settings.max_in_flight:
            raise problems.unavailable("overloaded", "Too many requests are under way. Try again shortly.")
        self._in_flight += 1
        try:
            await self._limit(endpoint)
            body = await self._body(call)
            client_id, rows, tensors = oip.read_request(body, max_rows=self.settings.max_rows)
            inference = Inference(
                request_id=call.request_id,
                endpoint=endpoint,
                body=body,
                client_id=client_id,
                rows=rows,
                tensors=tensors,
                received_at=call.received_at,
                started_at=call.started_at,
            )
            try:
                answer = await self._proxy.infer(inference, version=version)
            finally:
                call.route = inference.route
            await call.answer(200, JSON_HEADERS, answer)
        finally:
            self._in_flight -= 1
        if endpoint.shadows:
            self._proxy.mirror(inference)

    async def _body(self, call: Call) -> bytes:
        """The whole body, within the size limit and the time for slow senders."""
        limit = self.settings.max_body_bytes
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.settings.body_timeout_s):
                while True:
                    message = await call.receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(408, "request-timeout", "The connection closed before the body came.")
                    part = message.get("body", b"")
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        raise too_large(limit)
                    if not message.get("more_body", False):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError as error:
            raise Problem(
                408,
                "request-timeout",
                f"The body did not arrive within {self.settings.body_timeout_s:g} s.",
                headers=[(b"connection", b"close")],
            ) from error

    async def _ready(self, call: Call) -> None:
        snapshot = self.routing.current
        age_s = self.routing.contact_age_s
        ready = snapshot is not None and self.capture.healthy
        body: dict[str, Any] = {"ready": ready, "captures": "ok" if self.capture.healthy else "failing"}
        if snapshot is not None:
            # An old snapshot is reported, not punished: the last good routes serve on while web is away.
            body["snapshot"] = {
                "version": snapshot.version,
                "issued_at": snapshot.issued_at.isoformat(),
                "fresh": not self.routing.stale,
                "confirmed_s_ago": None if age_s is None else round(age_s, 1),
            }
        await call.answer(200 if ready else 503, JSON_HEADERS, oip.encode(body))

    async def _describe(self, call: Call, endpoint: Endpoint, version: str | None) -> None:
        routes = list(endpoint.routes(version))
        if not routes:
            raise _no_version(version) if version else _no_route()
        for route in routes:
            try:
                status, answer, _ = await self._engines.get(route.model_url)
                said = oip.json_object(answer) if status == 200 else None
            except (NotSent, EngineTimeout, EngineFailed, ValueError):
                said = None
            if said is not None:
                body = {
                    "name": endpoint.slug,
                    "versions": sorted({item.version for item in endpoint.live}),
                    "platform": said.get("platform", ""),
                    "inputs": said.get("inputs", []),
                    "outputs": said.get("outputs", []),
                }
                await call.answer(200, JSON_HEADERS, oip.encode(body))
                return
        raise problems.unavailable("engine-failed", "No model server of this endpoint answers now.")

    async def _model_ready(self, call: Call, endpoint: Endpoint, version: str | None) -> None:
        routes = list(endpoint.routes(version))
        if not routes and version:
            raise _no_version(version)
        for route in routes:
            try:
                status, _, _ = await self._engines.get(f"{route.model_url}/ready")
            except (NotSent, EngineTimeout, EngineFailed):
                continue
            if status == 200:
                await call.answer(200, JSON_HEADERS, oip.encode({"name": endpoint.slug, "ready": True}))
                return
        problem = problems.unavailable("not-ready", "No model server of this endpoint is ready.")
        problem.extra = {"name": endpoint.slug, "ready": False}
        raise problem

    async def _refuse(self, call: Call, problem: Problem) -> None:
        await call.answer(problem.status, [*PROBLEM_HEADERS, *problem.headers], problem.body(call.request_id))
        logs.event(
            log,
            logging.WARNING if problem.status >= 500 else logging.INFO,
            "refused",
            request_id=call.request_id,
            status=problem.status,
            code=problem.code,
            endpoint=call.endpoint.slug if call.endpoint else None,
            deployment_id=call.deployment_id or None,
            client=(call.scope.get("client") or ("",))[0],
            duration_ms=round((time.perf_counter() - call.started_at) * 1000, 2),
        )

    def _measure(self) -> None:
        self.metrics.in_flight.set(self._in_flight)
        age_s = self.routing.contact_age_s
        self.metrics.snapshot_age.set(float("nan") if age_s is None else age_s)


def _not_found() -> Problem:
    return Problem(404, "not-found", "There is nothing at this address, or not for this key.")


def _no_version(version: str | None) -> Problem:
    return Problem(404, "not-found", f"Version {version!r} is not routed at this endpoint.")


def _no_route() -> Problem:
    return problems.unavailable("no-route", "No model is deployed at this endpoint now.", retry_after_s=5)
