"""Outbox."""

from django.apps import AppConfig


class OutboxConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.outbox"
    label = "outbox"
