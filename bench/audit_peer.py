"""One writer of `audit.py` under another package's audit trail: django-auditlog or django-simple-history, each as its documentation sets it up.

Runs in the throw-away environment that `audit.py` makes, against a database of its own; not by hand.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent))


def set_up(peer: str) -> Any:
    """Django with this peer alone; returns the model that is changed."""
    import django
    from django.conf import settings

    url = urlsplit(os.environ["PEER_DATABASE_URL"])
    settings.configure(
        SECRET_KEY="bench",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "auditlog" if peer == "auditlog" else "simple_history", "audit_peer"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql", "NAME": url.path.strip("/"), "USER": unquote(url.username or ""),
                "PASSWORD": unquote(url.password or ""), "HOST": url.hostname, "PORT": url.port, "CONN_MAX_AGE": None,
            }
        },
    )  # fmt: skip
    django.setup()
    from django.db import models

    class Item(models.Model):
        id = models.IntegerField(primary_key=True)
        tier = models.TextField()
        changes = models.IntegerField(default=0)
        if peer == "history":
            from simple_history.models import HistoricalRecords

            history = HistoricalRecords()

        class Meta:
            app_label = "audit_peer"
            db_table = f"{peer}_item"

    if peer == "auditlog":
        from auditlog.registry import auditlog

        auditlog.register(Item)
    return Item


def prepare(peer: str) -> None:
    """Tables, rows, and somebody to have done it."""
    model = set_up(peer)
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(model)
        if peer == "history":
            editor.create_model(model.history.model)
    model.objects.bulk_create([model(id=n, tier="low") for n in range(1000)])
    User.objects.get_or_create(id=1, defaults={"username": "anna"})


def write(peer: str, number: int, seconds: float) -> None:
    """Change one row as fast as possible; prints how often, and the processor time it took."""
    import contextlib

    model = set_up(peer)
    from audit import processor_time
    from django.contrib.auth.models import User
    from django.db import connection, transaction

    user, item = User.objects.get(id=1), model.objects.get(id=number)
    acting: Any = contextlib.nullcontext()
    if peer == "auditlog":
        from auditlog.context import set_actor

        acting = set_actor(user)
    else:
        item._history_user = user
    print("ready", flush=True)
    sys.stdin.readline()
    cpu = processor_time(connection)
    until, done = time.perf_counter() + seconds, 0
    with acting:
        while time.perf_counter() < until:
            with transaction.atomic():
                item.tier, item.changes = "high" if done % 2 else "low", done + 1
                item.save(update_fields=["tier", "changes"])
            done += 1
    kept = "auditlog_logentry" if peer == "auditlog" else "audit_peer_historicalitem"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {kept}")
        if cursor.fetchone()[0] < done:
            raise SystemExit(f"{peer} recorded less than was changed")
    print(done, processor_time(connection) - cpu)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", choices=["auditlog", "history"])
    parser.add_argument("--prepare", choices=["auditlog", "history"])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--number", type=int, default=0)
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare)
    else:
        write(options.worker, options.number, options.seconds)
