"""REST addresses of KPIs."""

from django.urls import path

from apps.kpis.api import views

urlpatterns = [
    path("kpis/", views.KpisView.as_view()),
    path("kpis/<uuid:kpi_id>/", views.KpiView.as_view()),
    path("kpis/<uuid:kpi_id>/measurements/", views.MeasurementsView.as_view()),
    path("kpis/<uuid:kpi_id>/baselines/", views.BaselinesView.as_view()),
    path("kpis/<uuid:kpi_id>/effect/", views.EffectView.as_view()),
    path("kpis/<uuid:kpi_id>/series/", views.SeriesView.as_view()),
    path("kpis/<uuid:kpi_id>/value-conversion/", views.ConversionView.as_view()),
    path("usecases/<str:ref>/value/", views.ValueView.as_view()),
    path("usecases/<str:ref>/costs/", views.CostsView.as_view()),
    path("rate-cards/", views.RateCardsView.as_view()),
]
