"""Writes of approvals: policies, requests, signatures, waivers, revocations."""

from apps.approvals.services.policies import check_policy, publish_policy
from apps.approvals.services.reminders import remind
from apps.approvals.services.requests import attest, open_gate, request_gate, withdraw
from apps.approvals.services.signing import revoke_decision, sign_gate
from apps.approvals.services.waivers import ask_waiver, settle_waiver, sign_waiver

__all__ = [
    "ask_waiver", "attest", "check_policy", "open_gate", "publish_policy", "remind", "request_gate", "revoke_decision", "settle_waiver", "sign_gate",
    "sign_waiver", "withdraw",
]  # fmt: skip
