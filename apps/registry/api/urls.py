"""REST addresses of the registry."""

from django.urls import path

from apps.registry.api import views

urlpatterns = [
    path("models/", views.ModelsView.as_view()),
    path("models/<str:name>/", views.ModelView.as_view()),
    path("models/<str:name>/versions/", views.VersionsView.as_view()),
    path("models/<str:name>/versions/<int:number>/", views.VersionView.as_view()),
    path("models/<str:name>/versions/<int:number>/card/", views.CardView.as_view()),
    path("models/<str:name>/versions/<int:number>/sync/", views.SyncView.as_view()),
    path("models/<str:name>/versions/<int:number>/lineage/", views.LineageView.as_view()),
]
