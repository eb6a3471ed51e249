"""Every address of the portal, composed from the apps' doors."""

import importlib.util
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView

from portal import api_docs, health

APPS = [a.removeprefix("apps.") for a in settings.INSTALLED_APPS if a.startswith("apps.")]


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def only_public_api(endpoints: list[Any]) -> list[Any]:
    """Keep the schema to what is versioned and public."""
    return [e for e in endpoints if e[0].startswith("/api/v1/")]


urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", api_docs.docs, name="api-docs"),
]
# Each app may have three doors: REST, pages, and one for machines (routing, artifacts, MLflow).
urlpatterns += [path("api/v1/", include(f"apps.{a}.api.urls")) for a in APPS if _has(f"apps.{a}.api.urls")]
urlpatterns += [path("", include(f"apps.{a}.web.urls")) for a in APPS if _has(f"apps.{a}.web.urls")]
# Whatever else is asked of the API is answered in its own format, also a missing slash: a redirect would turn a POST into a GET.
urlpatterns += [re_path(r"^api/", health.no_such_address)]
urlpatterns += [path("", include(f"apps.{a}.machine.urls")) for a in APPS if _has(f"apps.{a}.machine.urls")]
