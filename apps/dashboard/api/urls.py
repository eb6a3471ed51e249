"""REST addresses of what is composed across apps."""

from django.urls import path

from apps.dashboard.api import asof, views

urlpatterns = [
    path("asof/", asof.AsOfView.as_view()),
    path("models/<str:name>/versions/<int:number>/lineage/graph/", views.VersionLineageView.as_view()),
    path("models/<str:name>/versions/<int:number>/timeline/", views.TimelineView.as_view()),
    path("models/<str:name>/versions/<int:number>/rights/", views.RightsView.as_view()),
    path("datasets/<uuid:dataset_id>/lineage/", views.DatasetLineageView.as_view()),
]
