"""Carry out signed orders: accept or refuse, start, stop, load-test; resume what a crash left unfinished."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from celery_worker import faults, orders
from celery_worker.agent import load
from celery_worker.agent.accept import accept
from celery_worker.agent.download import ArtifactCache, DigestMismatch, DownloadFailed
from celery_worker.agent.engines import Engine, make_engines
from celery_worker.agent.engines.kserve import EngineError, check_options
from celery_worker.agent.memory import resident_bytes
from celery_worker.agent.reports import Reporter
from celery_worker.agent.settings import AgentSettings
from celery_worker.agent.state import DeploymentState, EngineRecord, KeyedLocks, Store, Superseded
from celery_worker.agent.trust import OrderKeys

log = logging.getLogger(__name__)

PROBE_EVERY_S = 0.1
# Control takes a start as lost after some minutes without a word; a large download takes longer.
STILL_AT_IT_S = 60.0


class _StartFailed(Exception):
    """A start that will not succeed; the message goes into the report."""


class Host:
    """This host's agent without Celery: everything an order can make it do."""

    def __init__(self, settings: AgentSettings, store: Store, reporter: Reporter) -> None:
        self.settings = settings
        self.store = store
        self.reporter = reporter
        self.trust = OrderKeys(settings.order_keys, settings.state_dir, until=settings.order_keys_until)
        self.engines: dict[str, Engine] = make_engines(settings.state_dir, settings.engine_pythons)
        self.artifacts = ArtifactCache(settings.state_dir, allow_http=settings.allow_http, max_bytes=settings.max_artifact_bytes)
        self.stopping = threading.Event()
        self._load_locks = KeyedLocks()
        self._load_stops: dict[str, threading.Event] = {}

    # --- the door ----------------------------------------------------------------------------------------------------

    def execute(self, envelope: Any, *, now: datetime | None = None) -> None:
        """Verify an order and carry it out; an order that may not be carried out is refused by a signed report."""
        order: Mapping[str, Any] = {}
        try:
            order = self.trust.verify(envelope, now=now)
            orders.check_order(order, audience=self.settings.host, now=now or datetime.now(UTC))
            accept(self.store, order, envelope, engine_kinds=self.engines.keys())
        except orders.OrderRefused as refusal:
            self._refuse(refusal, order, envelope)
            return
        self._carry_out(order)

    def resume(self) -> list[threading.Thread]:
        """After a restart: finish what was accepted and not finished. One thread each, returned started."""
        threads = []
        for state in self.store.all():
            for envelope in filter(None, (state.order, *state.load_orders.values())):
                threads.append(threading.Thread(target=self._resume_order, args=(state, envelope), daemon=True))
        for thread in threads:
            thread.start()
        return threads

    def _resume_order(self, state: DeploymentState, envelope: dict[str, Any]) -> None:
        order: Mapping[str, Any] = {}
        try:
            order = self.trust.verify(envelope)
            orders.check_order(order, audience=self.settings.host, now=datetime.now(UTC))
        except orders.OrderRefused as refusal:
            self._refuse(refusal, order, envelope)
            if envelope == state.order:
                self._give_up(state, f"Not finished before the agent ended: {refusal.detail}")
            else:
                self.store.update(state.deployment_id, lambda now: _forget_load(now, envelope))
            return
        log.info("resuming order %s (%s)", order["order_id"], order["kind"])
        self._carry_out(order)

    def _give_up(self, state: DeploymentState, detail: str) -> None:
        try:
            with self.store.working_on(state.deployment_id):
                self._stop_engine(state.deployment_id, str(state.order_id))
                self._finish(state.deployment_id, str(state.order_id), "failed", detail)
        except Superseded:
            log.info("order %s gave way to a newer one", state.order_id)

    def _carry_out(self, order: Mapping[str, Any]) -> None:
        deployment_id, order_id = order["deployment_id"], order["order_id"]
        if order["kind"] == "load_test":
            self._load_test(order)
            return
        stop_load = self._load_stops.get(deployment_id)
        if stop_load is not None:
            stop_load.set()
        try:
            with self.store.working_on(deployment_id):
                state = self.store.get(deployment_id)
                if state.order_id != order_id or state.order is None:
                    return  # another thread has finished it while this one waited
                self._do(order)
        except Superseded:
            log.info("order %s gave way", order_id)

    def _do(self, order: Mapping[str, Any]) -> None:
        deployment_id, order_id = order["deployment_id"], order["order_id"]
        try:
            if order["kind"] == "start":
                self._start(order)
            else:
                self._stop_engine(deployment_id, order_id)
                self._finish(deployment_id, order_id, "stopped", "Stopped as ordered.")
        except Superseded:
            raise
        except Exception as error:
            # An order must never end without a word: control would wait for its lease, a person for nothing.
            log.exception("order %s failed unexpectedly", order_id)
            self._fail(order, f"Unexpected {type(error).__name__}; see the agent's log.", {})

    def _refuse(self, refusal: orders.OrderRefused, order: Mapping[str, Any], envelope: Any) -> None:
        log.warning("order refused: %s", refusal)
        self.reporter.report(
            "order_refused",
            {
                "order_id": _text_or_none(order.get("order_id")),
                "deployment_id": _text_or_none(order.get("deployment_id")),
                "reason": refusal.reason,
                "detail": refusal.detail,
                "order_sha256": orders.sha256_of_envelope(envelope),
            },
        )

    # --- starting ----------------------------------------------------------------------------------------------------

    def _start(self, order: Mapping[str, Any]) -> None:
        deployment_id, order_id = order["deployment_id"], order["order_id"]
        timings: dict[str, float] = {}
        try:
            record = self._reusable_engine(order) or self._start_new(order, timings)
            self._wait_until_ready(order, record, timings)
        except DigestMismatch as error:
            refusal = orders.OrderRefused("digest_mismatch", str(error))
            self._refuse(refusal, order, self.store.get(deployment_id).order)
            self._fail(order, str(error), timings)
        except (DownloadFailed, EngineError, _StartFailed) as error:
            self._fail(order, str(error), timings)
        except OSError as error:
            self._fail(order, f"The host refused: {error.strerror}.", timings)
        else:
            self._finish(deployment_id, order_id, "ready", "The engine answers.", timings)
            self.artifacts.prune({s.engine.digest for s in self.store.all() if s.engine is not None})

    def _fail(self, order: Mapping[str, Any], detail: str, timings: Mapping[str, float]) -> None:
        self._stop_engine(order["deployment_id"], order["order_id"])
        self._finish(order["deployment_id"], order["order_id"], "failed", detail, timings)

    def _reusable_engine(self, order: Mapping[str, Any]) -> EngineRecord | None:
        """The engine that already runs (or loads) exactly what is ordered, whoever started it before a crash."""
        record = self.store.get(order["deployment_id"]).engine
        wanted = (order["engine"]["kind"], order["artifact"]["digest"], _options(order))
        if record is None or (record.kind, record.digest, record.options) != wanted:
            return None
        found = self.engines[record.kind].adopt(record)
        if found is None:
            return None
        return self._record_engine(order, found)

    def _start_new(self, order: Mapping[str, Any], timings: dict[str, float]) -> EngineRecord:
        deployment_id, order_id = order["deployment_id"], order["order_id"]
        artifact, kind = order["artifact"], order["engine"]["kind"]
        engine = self.engines[kind]

        still_wanted = self._pulse(order)
        self._enter(order, "downloading")
        fetched = self.artifacts.fetch(
            url=artifact["url"],
            token=artifact["token"],
            digest=artifact["digest"],
            on_verify=lambda: self._enter(order, "verifying"),
            still_wanted=still_wanted,
        )
        timings["download"], timings["verify"] = fetched.download_ms, fetched.verify_ms
        still_wanted()
        self._stop_engine(deployment_id, order_id)
        record = engine.prepare(digest=artifact["digest"], options=_options(order))
        record.started_at = orders.time_to_text(datetime.now(UTC))
        try:
            # The start's id is on disk before the process exists: after a crash in between it is found by that id.
            self._record_engine(order, record)
            record = engine.start(record, deployment_id=deployment_id, folder=fetched.folder)
            faults.reach("agent.engine_spawned")
            self._record_engine(order, record)
        except BaseException:
            engine.stop(record)
            raise
        self._enter(order, "starting")
        return record

    def _wait_until_ready(self, order: Mapping[str, Any], record: EngineRecord, timings: dict[str, float]) -> None:
        deployment_id, engine = order["deployment_id"], self.engines[record.kind]
        began = time.monotonic()
        still_wanted = self._pulse(order)
        while True:
            still_wanted()
            probe = engine.probe(record)
            if probe == "gone":
                words = engine.last_words(deployment_id) or "it left no message"
                raise _StartFailed(f"The engine ended while it was starting: {words}")
            waited = time.monotonic() - began
            if probe == "ready":
                timings["start"] = round(waited * 1000, 3)
                record.ready_at = record.ready_at or orders.time_to_text(datetime.now(UTC))
                self._record_engine(order, record)
                return
            if waited > self.settings.ready_timeout_s:
                raise _StartFailed(f"The engine was not ready after {self.settings.ready_timeout_s:g} s.")
            time.sleep(PROBE_EVERY_S)

    def _pulse(self, order: Mapping[str, Any]) -> Callable[[], None]:
        """A call for long waits: raises Superseded when they are in vain, and says now and then that they go on."""
        deployment_id, spoke_at = order["deployment_id"], time.monotonic()

        def beat() -> None:
            nonlocal spoke_at
            if self.stopping.is_set() or not self.store.is_current(deployment_id, order["order_id"]):
                raise Superseded(deployment_id)
            if time.monotonic() - spoke_at > STILL_AT_IT_S:
                spoke_at = time.monotonic()
                self.report_deployment(self.store.get(deployment_id), "Still at it.")

        return beat

    def _record_engine(self, order: Mapping[str, Any], record: EngineRecord) -> EngineRecord:
        def change(state: DeploymentState) -> None:
            state.engine = record

        self.store.update(order["deployment_id"], change, for_order=order["order_id"])
        return record

    # --- stopping and finishing --------------------------------------------------------------------------------------

    def _stop_engine(self, deployment_id: str, order_id: str) -> None:
        record = self.store.get(deployment_id).engine
        if record is None:
            return
        engine = self.engines.get(record.kind)
        if engine is not None:
            engine.stop(record)

        def change(state: DeploymentState) -> None:
            state.engine = None

        self.store.update(deployment_id, change, for_order=order_id)

    def _enter(self, order: Mapping[str, Any], phase: str) -> None:
        def change(state: DeploymentState) -> None:
            state.phase = phase

        state = self.store.update(order["deployment_id"], change, for_order=order["order_id"])
        self.report_deployment(state, "")

    def _finish(
        self,
        deployment_id: str,
        order_id: str,
        phase: str,
        detail: str,
        timings: Mapping[str, float] | None = None,
    ) -> None:
        """Report, then mark the order finished. In this order: a crash in between reports twice, never not at all."""
        state = self.store.get(deployment_id)
        if state.order_id != order_id:
            raise Superseded(deployment_id)
        state.phase = phase
        self.report_deployment(state, detail, timings)

        def change(state: DeploymentState) -> None:
            state.phase, state.order = phase, None

        self.store.update(deployment_id, change, for_order=order_id)

    def report_deployment(self, state: DeploymentState, detail: str, timings: Mapping[str, float] | None = None) -> None:
        """Put a signed report of this deployment's state into the spool."""
        # A planned start has an id but no process yet; only real ones are told.
        engine = state.engine if state.engine is not None and state.engine.pid is not None else None
        self.reporter.report(
            "deployment",
            {
                "order_id": state.order_id,
                "deployment_id": state.deployment_id,
                "generation": state.work_generation,
                "state": state.phase,
                "detail": detail,
                "url": f"http://127.0.0.1:{engine.port}" if engine is not None else None,
                "pid": engine.pid if engine is not None else None,
                "port": engine.port if engine is not None else None,
                "engine_start_id": engine.engine_start_id if engine is not None else None,
                "started_at": engine.started_at if engine is not None else None,
                "ready_at": engine.ready_at if engine is not None else None,
                "memory_bytes": resident_bytes(engine.pid) if engine is not None else None,
                "timings_ms": dict(timings or {}),
            },
        )

    def engine_died(self, state: DeploymentState, detail: str) -> None:
        """Note and report that a ready engine is gone. Does nothing when an order works on the deployment."""
        order_id, deployment_id = state.order_id, state.deployment_id
        if order_id is None:
            return

        def change(now: DeploymentState) -> None:
            if now.order is not None or now.phase != "ready" or now.engine != state.engine:
                raise Superseded(deployment_id)
            now.phase = "failed"

        try:
            failed = self.store.update(deployment_id, change, for_order=order_id)
        except Superseded:
            return
        self.report_deployment(failed, detail)
        if state.engine is not None and state.engine.kind in self.engines:
            self.engines[state.engine.kind].stop(state.engine)

    # --- load --------------------------------------------------------------------------------------------------------

    def _load_test(self, order: Mapping[str, Any]) -> None:
        deployment_id, order_id = order["deployment_id"], order["order_id"]
        with self._load_locks.holding(deployment_id):
            state = self.store.get(deployment_id)
            if order_id not in state.load_orders:
                return  # another thread has run it while this one waited
            plan = load.LoadPlan.from_order(order["load"])
            stop = self._load_stops[deployment_id] = threading.Event()
            engine = state.engine
            if engine is None or state.phase != "ready" or self.stopping.is_set():
                stop.set()
            try:
                port, name = (engine.port, engine.options["model_name"]) if engine is not None else (0, "")
                outcome = load.drive(plan, port=port, model_name=name, stop=stop)
            finally:
                del self._load_stops[deployment_id]
            if self.stopping.is_set():
                return  # unfinished: it is run again, whole, after the restart
            memory = resident_bytes(engine.pid if engine is not None else None)
            body = outcome.body(plan) | {"order_id": order_id, "deployment_id": deployment_id, "memory_bytes": memory}
            self.reporter.report("load_test", body)
            self.store.update(deployment_id, lambda now: _forget_load(now, now.load_orders[order_id]))

    def shut_down(self) -> None:
        """Let go of what is being worked on, unfinished, so that the next agent resumes it. Engines stay."""
        self.stopping.set()
        for stop in list(self._load_stops.values()):
            stop.set()


def _forget_load(state: DeploymentState, envelope: dict[str, Any]) -> None:
    state.load_orders = {order_id: kept for order_id, kept in state.load_orders.items() if kept != envelope}


def _options(order: Mapping[str, Any]) -> dict[str, Any]:
    version = str(order["artifact"]["model_version"]).rpartition("/")[2]
    return check_options({"version": version} | dict(order["engine"]["options"]))


def _text_or_none(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) else None
