"""Addresses of the monitoring page and its doors."""

from django.urls import path

from apps.monitoring.web import views

app_name = "monitoring"
urlpatterns = [
    path("endpoints/<slug:slug>/monitoring/", views.endpoint, name="endpoint"),
    path("endpoints/<slug:slug>/monitoring/windows.csv", views.windows, name="windows"),
    path("endpoints/<slug:slug>/monitoring/create/<str:kind>/", views.create, name="create"),
    path("endpoints/<slug:slug>/monitoring/monitors/<uuid:monitor_id>/judge/", views.judge, name="judge"),
    path("endpoints/<slug:slug>/monitoring/monitors/<uuid:monitor_id>/retire/", views.retire, name="retire"),
    path("endpoints/<slug:slug>/monitoring/incidents/", views.open_incident, name="open-incident"),
    path("endpoints/<slug:slug>/monitoring/incidents/<uuid:incident_id>/close/", views.close_incident, name="close-incident"),
]
