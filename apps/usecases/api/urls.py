"""REST addresses of use cases. `<ref>` is an id or a slug."""

from django.urls import path

from apps.usecases.api import phases, stalled, tiers, views

urlpatterns = [
    path("stalled-usecases/", stalled.StalledView.as_view()),
    path("usecases/", views.UseCasesView.as_view()),
    path("usecases/<str:ref>/", views.UseCaseView.as_view()),
    path("usecases/<str:ref>/requirements/", views.RequirementsView.as_view()),
    path("usecases/<str:ref>/integrations/", views.IntegrationsView.as_view()),
    path("usecases/<str:ref>/models/", views.ModelsView.as_view()),
    path("usecases/<str:ref>/access/", views.AccessView.as_view()),
    path("usecases/<str:ref>/access/<uuid:user_id>/", views.PersonAccessView.as_view()),
    path("usecases/<str:ref>/phases/", phases.PhasesView.as_view()),
    path("phases/<uuid:phase_id>/", phases.PhaseView.as_view()),
    path("phases/<uuid:phase_id>/close/", phases.ClosePhaseView.as_view()),
    path("usecases/<str:ref>/moves/", views.MovesView.as_view()),
    path("usecases/<str:ref>/tier-exceptions/", tiers.TierExceptionsView.as_view()),
    path("tier-exceptions/", tiers.WaitingTiersView.as_view()),
    path("tier-exceptions/<uuid:exception_id>/signature/", tiers.TierSignatureView.as_view()),
    path("usecases/<str:ref>/hold/", views.HoldView.as_view()),
    path("usecases/<str:ref>/resume/", views.ResumeView.as_view()),
    path("usecases/<str:ref>/stop/", views.StopView.as_view()),
    path("usecases/<str:ref>/fall-back/", views.FallBackView.as_view()),
]
