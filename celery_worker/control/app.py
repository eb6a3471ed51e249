"""Control's Celery application. Importing it sets up Django.

JSON only, no remote control, no result backend, messages acknowledged after the work: what a killed worker had in hand comes again.
"""

import logging
import os

import django
from celery import Celery, signals
from django.conf import settings
from django.db import close_old_connections
from kombu import Queue

from celery_worker import logs, orders

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_PROCESS", "control")
# Django's checks load every page and REST door; `manage.py migrate` has made them before anything starts.
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")
django.setup()
logging.captureWarnings(True)

# After this long a message that a killed worker had in hand is given to another one. The index of such messages is shared by
# all workers on the broker, agents with long load tests among them; control does not wait for it, its clock mends sooner.
REDELIVER_AFTER_S = 3600

app = Celery("gatehouse-control")
app.conf.update(
    broker_url=settings.REDIS_URL,
    result_backend=None,
    task_ignore_result=True,
    accept_content=["json"],
    task_serializer="json",
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    task_send_sent_event=False,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={"visibility_timeout": REDELIVER_AFTER_S, "socket_keepalive": True, "health_check_interval": 15},
    task_default_queue=orders.CONTROL_QUEUE,
    task_queues=[Queue(orders.CONTROL_QUEUE)],
    task_create_missing_queues=True,
    task_soft_time_limit=300,
    task_time_limit=330,
    timezone="UTC",
    enable_utc=True,
    # The clock names tasks and runs none: it need not load them, and what they load.
    imports=[] if os.environ["GATEHOUSE_PROCESS"] == "schedule" else ["celery_worker.control.tasks"],
    # No schedule file: what is due is due again after a start, and doing it once more does no harm.
    beat_scheduler="celery.beat:Scheduler",
    beat_max_loop_interval=5,
)

from celery_worker.control import schedule  # noqa: E402 - needs Django's settings

app.conf.beat_schedule = schedule.entries()

# A line for every message received and done would drown what matters; failures are still logged.
for _name in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@signals.celeryd_init.connect
def _end_in_json(**_: object) -> None:
    logs.say_when_told_to_end()


@signals.task_prerun.connect
@signals.task_postrun.connect
def _fresh_connections(**_: object) -> None:
    """As Django does around a request: drop database connections that have broken or are too old."""
    close_old_connections()
