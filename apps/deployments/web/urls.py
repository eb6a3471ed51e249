"""Addresses of the deployment pages."""

from django.urls import path

from apps.deployments.web import views

app_name = "deployments"
urlpatterns = [
    path("endpoints/", views.endpoints, name="endpoints"),
    path("endpoints/new/", views.new_endpoint, name="new-endpoint"),
    path("endpoints/<slug:slug>/", views.endpoint, name="endpoint"),
    path("endpoints/<slug:slug>/deploy/", views.deploy, name="deploy"),
    path("endpoints/<slug:slug>/roll-back/", views.roll_back, name="roll-back"),
    path("endpoints/<slug:slug>/rehearse/", views.rehearse, name="rehearse"),
    path("endpoints/<slug:slug>/keys/", views.issue_key, name="issue-key"),
    path("endpoints/<slug:slug>/keys/<uuid:key_id>/group/", views.assign_key, name="assign-key"),
    path("endpoints/<slug:slug>/keys/<uuid:key_id>/revoke/", views.revoke_key, name="revoke-key"),
    path("endpoints/<slug:slug>/deployments/<uuid:deployment_id>/stop/", views.stop, name="stop"),
    path("hosts/", views.hosts, name="hosts"),
]
