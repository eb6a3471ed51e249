"""The load is open: the schedule does not wait for answers, and a stall is charged to all who had to wait."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from celery_worker import orders
from celery_worker.agent.load import LoadPlan, drive

PLAN = {"run_id": "r", "rate_rps": 100, "duration_s": 1.0, "seed": 5, "examples": [{"a": 1.5, "b": "x", "c": True}]}


class Server:
    """Speaks just enough HTTP; stalls once, may refuse."""

    def __init__(self) -> None:
        self.status = 200
        self.stall_s = 0.0
        self.seen: list[bytes] = []
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        started.wait(5)

    def _run(self, started: threading.Event) -> None:
        async def main() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            await asyncio.Event().wait()

        self.task = self.loop.create_task(main())
        with pytest.raises(asyncio.CancelledError):
            self.loop.run_until_complete(self.task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.seen.append(await reader.readexactly(length))
                if self.stall_s:
                    pause, self.stall_s = self.stall_s, 0.0
                    threading.Event().wait(pause)  # the whole server, as a real one that is busy
                writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 2\r\n\r\n{}" % self.status)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.task.cancel)
        self.thread.join(5)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


def run(server_port: int, stop: threading.Event | None = None, **changes: Any) -> dict[str, Any]:
    plan = LoadPlan.from_order(PLAN | changes)
    return drive(plan, port=server_port, model_name="m", stop=stop or threading.Event()).body(plan)


def test_the_schedule_is_poisson_and_the_same_for_one_seed() -> None:
    plan = LoadPlan.from_order(PLAN | {"rate_rps": 500, "duration_s": 40})
    due = plan.schedule()
    gaps = np.diff(due)
    assert due[-1] < 40
    assert abs(len(due) - 20_000) < 5 * 20_000**0.5
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.05), "exponential gaps"
    np.testing.assert_array_equal(due, plan.schedule())
    assert len(LoadPlan.from_order(PLAN | {"seed": 6}).schedule()) != len(LoadPlan.from_order(PLAN).schedule())


def test_a_row_becomes_one_named_input_per_column(server: Server) -> None:
    body = run(server.port)
    assert body["sent"] == body["completed"] == len(server.seen)
    assert b'{"name":"a","shape":[1],"datatype":"FP64","data":[1.5]}' in server.seen[0]
    assert b'"datatype":"BYTES"' in server.seen[0]
    assert b'"datatype":"BOOL"' in server.seen[0]


def test_a_stall_is_charged_from_the_scheduled_send_time(server: Server) -> None:
    server.stall_s = 0.5
    body = run(server.port)
    assert body["errors"] == 0
    # About half of all requests were due while the server stood still. A closed loop would have counted one of them.
    assert body["latency_ms"]["p90"] > 250
    assert body["latency_ms"]["max"] >= 499
    assert body["max_send_lag_ms"] < 250, "they were sent when they were due all the same"


def test_errors_are_counted_apart_from_latencies(server: Server) -> None:
    server.status = 422
    body = run(server.port)
    assert (body["completed"], body["error_share"]) == (0, 1.0)
    assert body["latency_ms"]["p99"] is None


def test_an_engine_that_is_not_there_is_all_errors(server: Server) -> None:
    server.stop()
    body = run(1, rate_rps=20, duration_s=0.3)
    assert body["errors"] == body["sent"] > 0


def test_a_stop_ends_the_run_early_and_says_so(server: Server) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    body = run(server.port, stop, duration_s=60)
    assert body["interrupted"] is True
    assert body["sent"] < 1000


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rate_rps": 0}, "rate_rps"),
        ({"rate_rps": True}, "rate_rps"),
        ({"rate_rps": 1e6}, "rate_rps"),
        ({"duration_s": 1e6}, "duration_s"),
        ({"rate_rps": 4000, "duration_s": 800}, "requests"),
        ({"seed": -1}, "seed"),
        ({"examples": []}, "examples"),
        ({"examples": [{"a": [1]}]}, "'a'"),
        ({"examples": ["a"]}, "example"),
        ({"run_id": ""}, "run_id"),
    ],
)
def test_a_plan_out_of_bounds_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(orders.OrderRefused, match=field):
        LoadPlan.from_order(PLAN | changes)
