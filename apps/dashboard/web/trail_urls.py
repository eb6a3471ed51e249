"""Addresses of the trail's pages."""

from django.urls import path

from apps.dashboard.web import trail

app_name = "audit"
urlpatterns = [
    path("", trail.explorer, name="explorer"),
    path("events/<uuid:event_id>/", trail.event, name="event"),
    path("export/", trail.export, name="export"),
]
