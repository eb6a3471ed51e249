"""Load tests."""

from django.apps import AppConfig


class LoadTestsConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.loadtests"
    label = "loadtests"
