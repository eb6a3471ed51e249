"""REST addresses of load tests."""

from django.urls import path

from apps.loadtests.api import views

urlpatterns = [
    path("load-tests/", views.LoadRunsView.as_view()),
    path("load-tests/<uuid:run_id>/", views.LoadRunView.as_view()),
]
