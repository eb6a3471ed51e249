"""The world of deployments, and a broker of our own inside the real Valkey."""

import json
import uuid
from typing import Any

import pytest

from tests.deployments.world import (  # noqa: F401
    agent,
    control,
    decide,
    elena,
    endpoints,
    engineer,
    order_key_file,
    rate_card,
    stage,
    trail_begins,
    usecase,
    versions,
)


class Broker:
    """A Celery application whose keys in Valkey nobody else reads."""

    def __init__(self, app: Any, prefix: str) -> None:
        self.app, self.prefix = app, prefix

    def received(self, queue: str) -> list[dict[str, Any]]:
        """Take every message off a queue: `{"task", "args", "kwargs"}`."""
        found = []
        with self.app.connection_for_read() as connection:
            simple = connection.SimpleQueue(self.app.amqp.queues.get(queue, queue))
            while True:
                try:
                    message = simple.get(block=False)
                except simple.Empty:
                    break
                args, kwargs, _ = message.payload if isinstance(message.payload, list) else json.loads(message.body)
                found.append({"task": message.headers["task"], "args": args, "kwargs": kwargs, "expires": message.headers.get("expires")})
                message.ack()
            simple.close()
        return found


@pytest.fixture
def broker(monkeypatch: Any, settings: Any) -> Any:
    """The relay and the tasks send through this one."""
    import redis
    from celery import Celery

    from celery_worker.control import app as module
    from celery_worker.control import relay, tasks

    prefix = f"test-{uuid.uuid4().hex}-"
    made = Celery("tests", broker=settings.REDIS_URL, set_as_current=False)
    made.conf.update(
        task_serializer="json", accept_content=["json"], task_queues=module.app.conf.task_queues, task_default_queue="control",
        broker_transport_options={"global_keyprefix": prefix}, broker_connection_timeout=2,
    )  # fmt: skip
    monkeypatch.setattr(relay, "app", made)
    monkeypatch.setattr(tasks, "app", made)
    yield Broker(made, prefix)
    made.close()
    client = redis.Redis.from_url(settings.REDIS_URL)
    for key in client.scan_iter(f"{prefix}*"):
        client.delete(key)
    client.close()
