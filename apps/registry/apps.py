"""Registry."""

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.registry"
    label = "registry"
    verbose_name = "Registry"
