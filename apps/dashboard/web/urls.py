"""Addresses of the composed pages."""

from django.urls import include, path

from apps.dashboard.web import (
    findings,
    kpis,
    models_search,
    phases,
    portfolio,
    rates,
    stalled,
    usecase_edit,
    usecase_new,
    usecase_tier,
    usecases,
    views,
)

urlpatterns = [
    path("", views.home, name="home"),
    path("portfolio/", portfolio.portfolio, name="portfolio"),
    path("portfolio.csv", portfolio.as_csv, name="portfolio-csv"),
    path("stalled/", stalled.stalled, name="stalled"),
    path("usecases/new/", usecase_new.new, name="usecase-new"),
    path("usecases/<slug:slug>/", usecases.detail, name="usecase"),
    path("usecases/<slug:slug>/tier/", usecase_tier.tier, name="usecase-tier"),
    path("usecases/<slug:slug>/tier/<uuid:exception_id>/", usecase_tier.sign, name="usecase-tier-sign"),
    path("usecases/<slug:slug>/edit/", usecase_edit.edit, name="usecase-edit"),
    path("usecases/<slug:slug>/edit/<slug:what>/", usecase_edit.change, name="usecase-change"),
    path("usecases/<slug:slug>/phases/", phases.phases, name="usecase-phases"),
    path("usecases/<slug:slug>/phases/<uuid:phase_id>/change/", phases.change, name="phase-change"),
    path("usecases/<slug:slug>/phases/<uuid:phase_id>/drop/", phases.drop, name="phase-drop"),
    path("usecases/<slug:slug>/phases/<uuid:phase_id>/gate/", phases.begin_gate, name="phase-gate"),
    path("usecases/<slug:slug>/phases/<uuid:phase_id>/close/", phases.close, name="phase-close"),
    path("kpis/<uuid:kpi_id>/", kpis.detail, name="kpi"),
    path("kpis/<uuid:kpi_id>/measurements.csv", kpis.as_csv, name="kpi-csv"),
    path("kpis/<uuid:kpi_id>/<slug:what>/", kpis.change, name="kpi-change"),
    path("rates/", rates.rates, name="rates"),
    path("findings/", findings.findings, name="findings"),
    path("models/", include("apps.dashboard.web.models_urls")),
    path("search/", models_search.search, name="registry-search"),
    path("datasets/", include("apps.dashboard.web.datasets_urls")),
    path("trail/", include("apps.dashboard.web.trail_urls")),
]
