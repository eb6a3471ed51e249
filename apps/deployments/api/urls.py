"""REST addresses of deployments."""

from django.urls import path

from apps.deployments.api import views

urlpatterns = [
    path("keys/", views.PublicKeysView.as_view()),
    path("hosts/", views.HostsView.as_view()),
    path("endpoints/", views.EndpointsView.as_view()),
    path("endpoints/<str:reference>/", views.EndpointView.as_view()),
    path("endpoints/<str:reference>/keys/", views.EndpointKeysView.as_view()),
    path("endpoints/<str:reference>/keys/<uuid:key_id>/", views.EndpointKeyView.as_view()),
    path("endpoints/<str:reference>/rehearse-rollback/", views.RehearsalView.as_view()),
    path("endpoints/<str:reference>/roll-back/", views.EndpointRollBackView.as_view()),
    path("deployments/", views.DeploymentsView.as_view()),
    path("deployments/<uuid:deployment_id>/", views.DeploymentView.as_view()),
    path("deployments/<uuid:deployment_id>/stop/", views.StopView.as_view()),
    path("rollouts/", views.RolloutsView.as_view()),
    path("rollouts/<uuid:rollout_id>/", views.RolloutView.as_view()),
    path("rollouts/<uuid:rollout_id>/roll-back/", views.RolloutRollBackView.as_view()),
]
