"""REST addresses of the registry."""

from django.urls import path

from apps.registry.api import cards, compare, datasets, evaluations, governance, scans, search, signing_keys, views

urlpatterns = [
    path("models/", views.ModelsView.as_view()),
    path("models/<str:name>/", views.ModelView.as_view()),
    path("models/<str:name>/owner/", governance.OwnerView.as_view()),
    path("findings/", governance.FindingsView.as_view()),
    path("findings/<uuid:finding_id>/", governance.FindingView.as_view()),
    path("models/<str:name>/compare/", compare.CompareView.as_view()),
    path("models/<str:name>/failure-modes/", cards.FailureModesView.as_view()),
    path("failure-modes/<uuid:failure_id>/", cards.FailureModeView.as_view()),
    path("models/<str:name>/versions/", views.VersionsView.as_view()),
    path("models/<str:name>/versions/<int:number>/", views.VersionView.as_view()),
    path("models/<str:name>/versions/<int:number>/card/", views.CardView.as_view()),
    path("models/<str:name>/versions/<int:number>/card/revisions/", cards.RevisionsView.as_view()),
    path("models/<str:name>/versions/<int:number>/card/diff/", cards.RevisionDiffView.as_view()),
    path("models/<str:name>/versions/<int:number>/card/html/", cards.CardExportView.as_view()),
    path("models/<str:name>/versions/<int:number>/card/markdown/", cards.CardMarkdownView.as_view()),
    path("models/<str:name>/versions/<int:number>/evaluations/", evaluations.EvaluationsView.as_view()),
    path("models/<str:name>/versions/<int:number>/evaluations/from-run/", evaluations.FromRunView.as_view()),
    path("evaluations/<uuid:evaluation_id>/", evaluations.EvaluationView.as_view()),
    path("models/<str:name>/versions/<int:number>/lineage/openlineage/", datasets.OpenLineageExportView.as_view(), name="openlineage"),
    path("lineage/openlineage/", datasets.OpenLineageView.as_view()),
    path("datasets/", datasets.DatasetsView.as_view()),
    path("datasets/<uuid:dataset_id>/", datasets.DatasetView.as_view()),
    path("datasets/<uuid:dataset_id>/versions/", datasets.DatasetUsesView.as_view()),
    path("models/<str:name>/versions/<int:number>/scans/", scans.ScansView.as_view()),
    path("signing-keys/", signing_keys.SigningKeysView.as_view()),
    path("signing-keys/<uuid:key_id>/retire/", signing_keys.RetireView.as_view()),
    path("registry/search/", search.SearchView.as_view()),
    path("evaluation-schema/", evaluations.SchemaView.as_view(), name="evaluation-schema"),
    path("models/<str:name>/versions/<int:number>/sync/", views.SyncView.as_view()),
    path("models/<str:name>/versions/<int:number>/lineage/", views.LineageView.as_view()),
]
