"""What decisions writes in the trail."""

ACTIONS = {
    "decisions.decision.issued": "A passed gate became a decision",
    "decisions.decision.revoked": "A decision was ended before its expiry",
    "decisions.hold.placed": "A decision was suspended",
    "decisions.hold.lifted": "A suspension ended",
}
