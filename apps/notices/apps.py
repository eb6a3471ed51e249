"""Django's entry for the app."""

from django.apps import AppConfig


class NoticesConfig(AppConfig):
    """Telling people and other systems what happened."""

    name = "apps.notices"
    label = "notices"
