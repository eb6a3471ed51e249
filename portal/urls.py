"""Every address of the portal, composed from the apps' doors."""

from typing import Any

from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView

from portal import api_docs, health

# Each app may have three doors: REST, pages, and one for machines (routing, artifacts, MLflow).
REST = ("audit", "accounts", "notices", "registry", "usecases", "kpis", "deployments", "loadtests", "monitoring", "approvals", "dashboard")
PAGES = ("accounts", "notices", "deployments", "loadtests", "monitoring", "approvals", "dashboard")
MACHINES = ("registry", "deployments")


def only_public_api(endpoints: list[Any]) -> list[Any]:
    """Keep the schema to what is versioned and public."""
    return [e for e in endpoints if e[0].startswith("/api/v1/")]


urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", api_docs.docs, name="api-docs"),
]
urlpatterns += [path("api/v1/", include(f"apps.{a}.api.urls")) for a in REST]
urlpatterns += [path("", include(f"apps.{a}.web.urls")) for a in PAGES]
# Whatever else is asked of the API is answered in its own format, also a missing slash: a redirect would turn a POST into a GET.
urlpatterns += [re_path(r"^api/", health.no_such_address)]
urlpatterns += [path("", include(f"apps.{a}.machine.urls")) for a in MACHINES]
