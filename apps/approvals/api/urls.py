"""REST addresses of gates, policies and decisions."""

from django.urls import path

from apps.approvals.api import views

urlpatterns = [
    path("gates/", views.GatesView.as_view()),
    path("gates/<uuid:gate_id>/", views.GateView.as_view()),
    path("gates/<uuid:gate_id>/attestations/", views.AttestationsView.as_view()),
    path("gates/<uuid:gate_id>/request/", views.RequestView.as_view()),
    path("gates/<uuid:gate_id>/signatures/", views.SignaturesView.as_view()),
    path("gates/<uuid:gate_id>/withdraw/", views.WithdrawView.as_view()),
    path("gates/<uuid:gate_id>/evidence/", views.EvidenceView.as_view()),
    path("policies/", views.PoliciesView.as_view()),
    path("decisions/", views.DecisionsView.as_view()),
    path("decisions/<uuid:decision_id>/", views.DecisionView.as_view()),
    path("decisions/<uuid:decision_id>/revoke/", views.RevokeView.as_view()),
]
