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
    "approvals.gate.stopped": "A gate ended with its use case stopped",
    "approvals.gate.rebuilt": "A gate ended with a successor that is built anew",
    "approvals.gate.lapsed": "A gate lapsed because signatures were late",
    "approvals.decision.lapsed": "An approval ended by its date",
    "approvals.waiver.asked": "A waiver was asked for",
    "approvals.waiver.signed": "A risk owner signed a waiver",
    "approvals.waiver.refused": "A risk owner refused a waiver",
    "approvals.waiver.ended": "A waiver ended",
    "approvals.gate.withdrawn": "A gate was taken back",
    "approvals.signature.voided": "A signature was voided because the evidence changed",
}
