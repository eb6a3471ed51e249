"""Addresses of the pages of models."""

from django.urls import path

from apps.dashboard.web import models

app_name = "registry"
urlpatterns = [
    path("", models.models, name="models"),
    path("<str:name>/", models.model, name="model"),
    path("<str:name>/versions/<int:number>/", models.version, name="version"),
]
