"""KPIs."""

from django.apps import AppConfig


class KpisConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.kpis"
    label = "kpis"
    verbose_name = "KPIs"
