"""Writes of approvals: policies, requests, signatures, waivers, delegations, talk, reminders, revocations."""

from apps.approvals.services.delegations import delegate, end_delegation
from apps.approvals.services.looks import look
from apps.approvals.services.policies import check_policy, publish_policy, ship_policy
from apps.approvals.services.reminders import remind
from apps.approvals.services.requests import attest, open_gate, request_gate, withdraw
from apps.approvals.services.signing import revoke_decision, sign_gate
from apps.approvals.services.talk import attach, comment, read_attachment
from apps.approvals.services.waivers import ask_waiver, settle_waiver, sign_waiver
from apps.approvals.services.watching import watch_evidence

__all__ = [
    "ask_waiver", "attach", "attest", "check_policy", "comment", "delegate", "end_delegation", "look", "open_gate", "publish_policy",
    "read_attachment", "remind", "request_gate", "revoke_decision", "settle_waiver", "ship_policy", "sign_gate", "sign_waiver", "watch_evidence",
    "withdraw",
]  # fmt: skip
