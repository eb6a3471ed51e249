"""Use cases."""

from django.apps import AppConfig


class UsecasesConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.usecases"
    label = "usecases"
    verbose_name = "Use cases"
