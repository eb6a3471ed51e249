"""Open-loop load on this host's own engine: a Poisson schedule, latency counted from the scheduled send time.

Requests are sent when the schedule says so, whether or not earlier ones have been answered. A server that stalls is
therefore charged for the requests that had to wait (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import selectors
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celery_worker import orders
from celery_worker.agent.wire import Connection, WireError, post_request

MAX_RATE_RPS: Final = 5_000.0
MAX_DURATION_S: Final = 900.0
MAX_REQUESTS: Final = 500_000
MAX_EXAMPLES: Final = 1_000
MAX_CONNECTIONS: Final = 128
REQUEST_TIMEOUT_S: Final = 10.0
_DATATYPES: Final[dict[type, str]] = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}


@dataclass(frozen=True)
class LoadPlan:
    """What to send: `bodies` are whole JSON requests, drawn with equal chance."""

    run_id: str
    rate_rps: float
    duration_s: float
    seed: int
    bodies: tuple[bytes, ...]

    @classmethod
    def from_order(cls, load: Mapping[str, Any]) -> LoadPlan:
        """Read and bound the `load` section of an order. Raises OrderRefused("malformed") naming the field."""
        run_id = load.get("run_id")
        if not isinstance(run_id, str) or not run_id:
            raise orders.OrderRefused("malformed", "load.run_id is missing.")
        rate = _number(load, "rate_rps", MAX_RATE_RPS)
        duration = _number(load, "duration_s", MAX_DURATION_S)
        if rate * duration > MAX_REQUESTS:
            raise orders.OrderRefused("malformed", f"rate_rps x duration_s is more than {MAX_REQUESTS} requests.")
        seed, examples = load.get("seed"), load.get("examples")
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise orders.OrderRefused("malformed", "load.seed is a whole number of at least 0.")
        if not isinstance(examples, list) or not 1 <= len(examples) <= MAX_EXAMPLES:
            raise orders.OrderRefused("malformed", f"load.examples holds 1 to {MAX_EXAMPLES} examples.")
        return cls(run_id, rate, duration, seed, tuple(_body(example) for example in examples))

    def schedule(self) -> NDArray[np.float64]:
        """Seconds from the start at which requests are due: a Poisson process of `rate_rps`, the same for one seed."""
        generator = np.random.default_rng(self.seed)
        expected = self.rate_rps * self.duration_s
        due = np.cumsum(generator.exponential(1.0 / self.rate_rps, size=int(expected + 6 * expected**0.5 + 16)))
        return due[due < self.duration_s]


@dataclass
class Outcome:
    """What happened. `latencies_s` of the requests answered with 200, each from its scheduled send time."""

    started_at: datetime
    finished_at: datetime
    sent: int = 0
    errors: int = 0
    elapsed_s: float = 0.0
    max_send_lag_s: float = 0.0
    interrupted: bool = False
    latencies_s: list[float] = field(default_factory=list)

    def body(self, plan: LoadPlan) -> dict[str, Any]:
        """The figures of a `load_test` report, times in ms; percentiles are None when nothing was answered."""
        latencies = np.array(self.latencies_s) * 1000
        names = ("p50", "p90", "p95", "p99", "max")
        figures: dict[str, float | None] = dict.fromkeys((*names, "mean"))
        if latencies.size:
            values = np.percentile(latencies, [50, 90, 95, 99, 100])
            figures = {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}
            figures["mean"] = round(float(latencies.mean()), 4)
        completed = len(self.latencies_s)
        return {
            "run_id": plan.run_id,
            "rate_rps": plan.rate_rps,
            "duration_s": plan.duration_s,
            "sent": self.sent,
            "completed": completed,
            "errors": self.errors,
            "error_share": round(self.errors / self.sent, 6) if self.sent else 0.0,
            "latency_ms": figures,
            "throughput_rps": round(completed / self.elapsed_s, 3) if self.elapsed_s > 0 else 0.0,
            "schedule": "poisson",
            "started_at": orders.time_to_text(self.started_at),
            "finished_at": orders.time_to_text(self.finished_at),
            "max_send_lag_ms": round(self.max_send_lag_s * 1000, 4),
            "interrupted": self.interrupted,
        }


def drive(plan: LoadPlan, *, port: int, model_name: str, stop: threading.Event) -> Outcome:
    """Run the plan against `127.0.0.1:port`; ends early (`interrupted`) when `stop` is set."""
    # select() sleeps to the microsecond where epoll rounds up to a millisecond, which would show in every latency.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(_drive(plan, port, model_name, stop))


async def _drive(plan: LoadPlan, port: int, model_name: str, stop: threading.Event) -> Outcome:
    loop = asyncio.get_running_loop()
    due = plan.schedule()
    picks = np.random.default_rng(plan.seed + 1).integers(0, len(plan.bodies), size=len(due))
    path = f"/v2/models/{model_name}/infer"
    requests = [post_request(path, f"127.0.0.1:{port}", body) for body in plan.bodies]
    pool = _Pool(port)
    await pool.warm()
    outcome = Outcome(datetime.now(UTC), datetime.now(UTC))
    tasks: set[asyncio.Task[None]] = set()
    began = loop.time()
    for offset, pick in zip(due.tolist(), picks.tolist(), strict=True):
        scheduled = began + offset
        pause = scheduled - loop.time()
        if pause > 0:
            await asyncio.sleep(pause)
        if stop.is_set():
            outcome.interrupted = True
            break
        outcome.sent += 1
        task = loop.create_task(_one(pool, requests[pick], scheduled, outcome))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=REQUEST_TIMEOUT_S + 5)
    outcome.elapsed_s = loop.time() - began
    outcome.finished_at = datetime.now(UTC)
    pool.close()
    return outcome


async def _one(pool: _Pool, request: bytes, scheduled: float, outcome: Outcome) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(scheduled + REQUEST_TIMEOUT_S):
            connection = await pool.take()
            outcome.max_send_lag_s = max(outcome.max_send_lag_s, loop.time() - scheduled)
            try:
                status = await connection.send(request)
            except BaseException:
                connection.close()
                raise
            finally:
                pool.give(connection)
    except (TimeoutError, WireError, OSError):
        outcome.errors += 1
        return
    if status == 200:
        outcome.latencies_s.append(loop.time() - scheduled)
    else:
        outcome.errors += 1


class _Pool:
    """Up to MAX_CONNECTIONS connections; who finds none free waits in line, and its latency keeps counting."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Connection] = []
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)

    async def warm(self) -> None:
        """Open a few connections before the clock starts; an engine that refuses shows up as errors later."""
        try:
            self._free = [await Connection.open("127.0.0.1", self._port) for _ in range(4)]
        except OSError:
            return

    async def take(self) -> Connection:
        await self._slots.acquire()
        while self._free:
            connection = self._free.pop()
            if not connection.closed:
                return connection
        try:
            return await Connection.open("127.0.0.1", self._port)
        except BaseException:
            self._slots.release()
            raise

    def give(self, connection: Connection) -> None:
        if not connection.closed:
            self._free.append(connection)
        self._slots.release()

    def close(self) -> None:
        for connection in self._free:
            connection.close()


def _number(load: Mapping[str, Any], name: str, most: float) -> float:
    value = load.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
        raise orders.OrderRefused("malformed", f"load.{name} is a number above 0 and at most {most:g}.")
    return float(value)


def _body(example: Any) -> bytes:
    """An example is a whole request (it has `inputs`) or one row of named values."""
    if not isinstance(example, Mapping) or not example:
        raise orders.OrderRefused("malformed", "Every load example is an object of named values, or a whole request.")
    request: Mapping[str, Any] = example
    if not isinstance(example.get("inputs"), list):
        request = {"inputs": _tensors(example)}
    return json.dumps(request, separators=(",", ":")).encode("utf-8")


def _tensors(row: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    tensors = []
    for name, value in row.items():
        datatype = _DATATYPES.get(type(value))
        if datatype is None:
            raise orders.OrderRefused("malformed", f"The load example's value of {str(name)[:200]!r} is not a plain value.")
        tensors.append({"name": name, "shape": [1], "datatype": datatype, "data": [value]})
    return tensors
