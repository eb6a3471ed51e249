"""Addresses of the load-test pages."""

from django.urls import path

from apps.loadtests.web import views

app_name = "loadtests"
urlpatterns = [
    path("load-tests/start/", views.start, name="start"),
    path("load-tests/<uuid:run_id>/", views.report, name="report"),
]
