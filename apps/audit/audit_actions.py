"""What audit writes in the trail: reading all of it at once is itself an event."""

ACTIONS = {
    "audit.trail.exported": "The trail, or that of one use case, was exported",
}
