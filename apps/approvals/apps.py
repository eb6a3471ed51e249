"""Approvals."""

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.approvals"
    label = "approvals"
