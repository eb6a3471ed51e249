"""The agent's Celery application: `celery -A celery_worker.agent.app --quiet worker -Q agent.<host> -P threads -c 4`.

Add `--without-gossip --without-mingle --without-heartbeat`: agents have nothing to say to other workers. `--quiet` leaves
out Celery's banner, so that every line is JSON.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging, worker_init, worker_ready, worker_shutting_down

from celery_worker import logs
from celery_worker.agent.runtime import Runtime

app = Celery("gatehouse-agent", broker=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    result_backend=None,
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    task_send_sent_event=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={"socket_timeout": 30, "socket_connect_timeout": 5, "socket_keepalive": True},
    imports=["celery_worker.agent.tasks"],
)

runtime = Runtime(app)


@celeryd_init.connect
def _log_as_json(**_: Any) -> None:
    # Before Celery's first warning.
    logs.configure()
    logs.say_when_told_to_end()


@setup_logging.connect
def _log_from(loglevel: int = logging.INFO, **_: Any) -> None:
    # That somebody listens keeps Celery from setting up lines of its own.
    logging.getLogger().setLevel(loglevel)


@worker_init.connect
def _claim(**_: Any) -> None:
    runtime.claim()


@worker_ready.connect
def _start(**_: Any) -> None:
    runtime.start()


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    runtime.stop()
