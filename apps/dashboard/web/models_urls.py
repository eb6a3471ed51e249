"""Addresses of the pages of models."""

from django.urls import path

from apps.dashboard.web import (
    datasets,
    findings,
    models,
    models_card,
    models_compare,
    models_evaluations,
    models_failures,
    models_history,
    models_scan,
)

app_name = "registry"
urlpatterns = [
    path("", models.models, name="models"),
    path("<str:name>/", models.model, name="model"),
    path("<str:name>/compare/", models_compare.compare, name="compare"),
    path("<str:name>/owner/", findings.owner, name="owner"),
    path("<str:name>/failure-modes/", models_failures.register, name="failures"),
    path("<str:name>/failure-modes/<uuid:failure_id>/", models_failures.entry, name="failure"),
    path("<str:name>/versions/<int:number>/", models.version, name="version"),
    path("<str:name>/versions/<int:number>/card/", models_card.card, name="card"),
    path("<str:name>/versions/<int:number>/card.html", models_card.export, {"kind": "html"}, name="card-html"),
    path("<str:name>/versions/<int:number>/card.md", models_card.export, {"kind": "md"}, name="card-md"),
    path("<str:name>/versions/<int:number>/history/", models_history.history, name="history"),
    path("<str:name>/versions/<int:number>/scan/", models_scan.scan, name="scan"),
    path("<str:name>/versions/<int:number>/lineage/", datasets.lineage, name="lineage"),
    path("<str:name>/versions/<int:number>/evaluations/", models_evaluations.evaluations, name="evaluations"),
    path("<str:name>/versions/<int:number>/evaluations/from-run/", models_evaluations.from_run, name="evaluation-from-run"),
]
