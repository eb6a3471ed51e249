"""REST addresses of gates, policies and decisions."""

from django.urls import path

from apps.approvals.api import delegations, policies, talk, views, waivers

urlpatterns = [
    path("gates/", views.GatesView.as_view()),
    path("gates/<uuid:gate_id>/", views.GateView.as_view()),
    path("gates/<uuid:gate_id>/look/", views.LookView.as_view()),
    path("gates/<uuid:gate_id>/attestations/", views.AttestationsView.as_view()),
    path("gates/<uuid:gate_id>/request/", views.RequestView.as_view()),
    path("gates/<uuid:gate_id>/signatures/", views.SignaturesView.as_view()),
    path("gates/<uuid:gate_id>/withdraw/", views.WithdrawView.as_view()),
    path("gates/<uuid:gate_id>/evidence/", views.EvidenceView.as_view()),
    path("gates/<uuid:gate_id>/waivers/", waivers.WaiversView.as_view()),
    path("gates/<uuid:gate_id>/comments/", talk.CommentsView.as_view()),
    path("gates/<uuid:gate_id>/attachments/", talk.AttachmentsView.as_view()),
    path("gates/<uuid:gate_id>/attachments/<uuid:attachment_id>/", talk.AttachmentView.as_view()),
    path("delegations/", delegations.DelegationsView.as_view()),
    path("delegations/<uuid:delegation_id>/", delegations.DelegationView.as_view()),
    path("waivers/<uuid:waiver_id>/signature/", waivers.WaiverSignatureView.as_view()),
    path("policies/", policies.PoliciesView.as_view()),
    path("policies/check/", policies.PolicyCheckView.as_view()),
    path("policies/<uuid:policy_id>/", policies.PolicyView.as_view()),
    path("decisions/", views.DecisionsView.as_view()),
    path("decisions/<uuid:decision_id>/", views.DecisionView.as_view()),
    path("decisions/<uuid:decision_id>/revoke/", views.RevokeView.as_view()),
]
