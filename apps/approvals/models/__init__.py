"""Tables of approvals."""

from apps.approvals.models.gates import Attestation, Gate, GateQuerySet, Signature
from apps.approvals.models.policies import PolicyVersion
from apps.approvals.models.waivers import Reminder, Waiver

__all__ = ["Attestation", "Gate", "GateQuerySet", "PolicyVersion", "Reminder", "Signature", "Waiver"]
