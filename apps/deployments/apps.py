"""Deployments."""

from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.deployments"
    label = "deployments"
