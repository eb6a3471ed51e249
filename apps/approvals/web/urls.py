"""Addresses of the gate pages."""

from django.urls import path

from apps.approvals.web import gate, policies, talk, views, waivers

app_name = "approvals"
urlpatterns = [
    path("inbox/", views.inbox, name="inbox"),
    path("policies/", policies.listing, name="policies"),
    path("policies/new/", policies.edit, name="policy-new"),
    path("policies/check/", policies.check, name="policy-check"),
    path("policies/<uuid:policy_id>/", policies.detail, name="policy"),
    path("policies/<uuid:policy_id>.yaml", policies.as_yaml, name="policy-yaml"),
    path("gates/new/", views.open_gate, name="open"),
    path("gates/<uuid:gate_id>/", gate.detail, name="gate"),
    path("gates/<uuid:gate_id>/print/", gate.record, name="print"),
    path("gates/<uuid:gate_id>/evidence.json", gate.evidence, name="evidence"),
    path("delegations/", talk.delegations, name="delegations"),
    path("delegations/<uuid:delegation_id>/end/", talk.end_delegation, name="end-delegation"),
    path("gates/<uuid:gate_id>/comments/", talk.comment, name="comment"),
    path("gates/<uuid:gate_id>/attachments/", talk.attach, name="attach"),
    path("gates/<uuid:gate_id>/attachments/<uuid:attachment_id>/", talk.attachment, name="attachment"),
    path("gates/<uuid:gate_id>/waivers/", waivers.ask, name="ask-waiver"),
    path("gates/<uuid:gate_id>/waivers/<uuid:waiver_id>/sign/", waivers.sign, name="sign-waiver"),
    path("gates/<uuid:gate_id>/answer/", gate.answer, name="answer"),
    path("gates/<uuid:gate_id>/request/", gate.request_signatures, name="request"),
    path("gates/<uuid:gate_id>/sign/", gate.sign, name="sign"),
    path("gates/<uuid:gate_id>/withdraw/", gate.withdraw, name="withdraw"),
    path("gates/<uuid:gate_id>/revoke/", gate.revoke, name="revoke"),
]
