"""Addresses of the trail's pages."""

from django.urls import path

from apps.dashboard.web import trail, trail_downloads

app_name = "audit"
urlpatterns = [
    path("", trail.explorer, name="explorer"),
    path("events/<uuid:event_id>/", trail.event, name="event"),
    path("downloads/", trail_downloads.files, name="downloads"),
    path("downloads/<uuid:download_id>/content/", trail_downloads.content, name="download"),
    path("report/", trail_downloads.report, name="report"),
    path("export/", trail.export, name="export"),
]
