"""Writes of approvals: policies, requests, signatures, revocations."""

from apps.approvals.services.policies import publish_policy
from apps.approvals.services.requests import attest, open_gate, request_gate, withdraw
from apps.approvals.services.signing import revoke_decision, sign_gate

__all__ = ["attest", "open_gate", "publish_policy", "request_gate", "revoke_decision", "sign_gate", "withdraw"]
