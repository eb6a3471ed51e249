"""Audit."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.audit"
    label = "audit"
