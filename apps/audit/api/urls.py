"""REST addresses of the trail."""

from django.urls import path

from apps.audit.api import downloads, views

urlpatterns = [
    path("audit/events/", views.EventsView.as_view()),
    path("audit/events/<uuid:event_id>/", views.EventView.as_view()),
    path("audit/events/<uuid:event_id>/proof/", views.EventProofView.as_view()),
    path("audit/checkpoints/", views.CheckpointsView.as_view()),
    path("audit/checkpoints/consistency/", views.ConsistencyView.as_view()),
    path("audit/rows/", views.RowsView.as_view()),
    path("audit/feed/", downloads.FeedView.as_view()),
    path("audit/downloads/", downloads.DownloadsView.as_view()),
    path("audit/downloads/<uuid:download_id>/", downloads.DownloadView.as_view()),
    path("audit/downloads/<uuid:download_id>/content/", downloads.DownloadContentView.as_view()),
    path("audit/exports/", views.ExportsView.as_view()),
]
