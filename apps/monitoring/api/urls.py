"""REST addresses of monitoring."""

from django.urls import path

from apps.monitoring.api import views

urlpatterns = [
    path("endpoints/<str:reference>/labels/", views.LabelsView.as_view()),
    path("endpoints/<str:reference>/captures/", views.CapturesView.as_view()),
    path("monitors/", views.MonitorsView.as_view()),
    path("monitors/<uuid:monitor_id>/", views.MonitorView.as_view()),
    path("monitors/<uuid:monitor_id>/windows/", views.WindowsView.as_view()),
    path("monitors/<uuid:monitor_id>/evaluate/", views.EvaluateView.as_view()),
    path("incidents/", views.IncidentsView.as_view()),
    path("incidents/<uuid:incident_id>/", views.IncidentView.as_view()),
    path("incidents/<uuid:incident_id>/close/", views.CloseIncidentView.as_view()),
]
