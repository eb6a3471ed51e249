"""The one `Host` of this worker process and its threads, made when the worker starts."""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import Celery

from celery_worker import orders
from celery_worker.agent import settings, watch
from celery_worker.agent.own_key import OwnKey
from celery_worker.agent.reports import Reporter
from celery_worker.agent.state import AlreadyRunning, Store
from celery_worker.agent.work import Host

log = logging.getLogger(__name__)


class Runtime:
    """Ties a Host to the broker; `start` claims the state folder, resumes and begins to watch."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._stop = threading.Event()
        self._host: Host | None = None

    @property
    def host(self) -> Host:
        """The Host. Raises RuntimeError before the worker has started."""
        if self._host is None:
            raise RuntimeError("The agent has not been started in this process.")
        return self._host

    def claim(self) -> None:
        """Read the settings and become the one agent of the state folder. Raises SystemExit with the remedy."""
        # Its line per request would name every probe, and one day a token in a URL.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        try:
            told = settings.from_environment()
            store = Store(told.state_dir)
            store.claim()
        except (settings.SettingsError, AlreadyRunning) as error:
            raise SystemExit(f"agent: {error}") from error
        reporter = Reporter(told.state_dir, host=told.host, sign=OwnKey(told.key_path).sign, send=self._send)
        try:
            self._host = Host(told, store, reporter)
        except (ValueError, KeyError, TypeError, orders.OrderRefused) as error:
            raise SystemExit(f"agent: {told.state_dir}/order-keys.json cannot be read ({error}); pin the order key anew and remove it.") from error
        self._host.artifacts.clean()

    def start(self) -> None:
        """Resume unfinished orders and start the threads. They are daemons: a kill needs no goodbye."""
        host = self.host
        for target in (host.reporter.run, watch.Watch(host).run):
            threading.Thread(target=target, args=(self._stop,), daemon=True).start()
        threading.Thread(target=watch.beat, args=(host, self._stop), daemon=True).start()
        host.resume()

    def stop(self) -> None:
        """Warm shutdown: what is unfinished stays so on disk; engines keep serving."""
        self._stop.set()
        if self._host is not None:
            self._host.shut_down()

    def _send(self, envelope: dict[str, Any], expires_s: float | None) -> None:
        self._app.send_task(
            orders.REPORT_TASK,
            args=[envelope],
            queue=orders.CONTROL_QUEUE,
            expires=expires_s,
            ignore_result=True,
            retry=False,
        )
