"""Tables of approvals."""

from apps.approvals.models.delegations import Delegation
from apps.approvals.models.gates import Attestation, Gate, GateQuerySet, Signature
from apps.approvals.models.looks import Look
from apps.approvals.models.policies import PolicyVersion
from apps.approvals.models.talk import Attachment, Comment
from apps.approvals.models.waivers import Reminder, Waiver
from apps.approvals.models.watch import EvidenceWatch

__all__ = [
    "Attachment", "Attestation", "Comment", "Delegation", "EvidenceWatch", "Gate", "GateQuerySet", "Look", "PolicyVersion", "Reminder", "Signature", "Waiver",
]  # fmt: skip
