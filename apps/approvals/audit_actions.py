"""What approvals write in the trail."""

ACTIONS = {
    "approvals.policy.published": "A gate policy version was published",
    "approvals.gate.opened": "A gate was begun",
    "approvals.gate.attested": "A person answered an item of a gate",
    "approvals.gate.requested": "A gate was requested and its evidence frozen",
    "approvals.gate.refrozen": "The evidence changed and was frozen again",
    "approvals.gate.signed": "A person signed a gate",
    "approvals.gate.approved": "A gate's quorum was met",
    "approvals.gate.rejected": "A gate was refused",
    "approvals.gate.withdrawn": "A gate was taken back",
    "approvals.signature.voided": "A signature was voided because the evidence changed",
}
