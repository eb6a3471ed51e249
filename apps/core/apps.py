"""Core: what every app may use. It has no tables."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.core"
    label = "core"
