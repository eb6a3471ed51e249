"""Decisions."""

from django.apps import AppConfig


class DecisionsConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.decisions"
    label = "decisions"
