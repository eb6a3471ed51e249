"""Dashboard."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.dashboard"
    label = "dashboard"
