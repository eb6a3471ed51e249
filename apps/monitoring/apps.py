"""Monitoring."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.monitoring"
    label = "monitoring"
