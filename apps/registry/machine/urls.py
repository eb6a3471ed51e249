"""Addresses for machines: the MLflow endpoint and artifact downloads."""

from django.urls import path, re_path

from apps.registry.machine import archive, proxy

urlpatterns = [
    re_path(r"^mlflow(?:/[\s\S]*)?\Z", proxy.mlflow_endpoint, name="mlflow"),
    path("artifacts/v1/<uuid:version_id>/archive", archive.archive, name="artifact-archive"),
]
