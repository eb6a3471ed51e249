"""Accounts."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Django's handle on the app."""

    name = "apps.accounts"
    label = "accounts"
    verbose_name = "Accounts"
