"""What audit writes in the trail: reading all of it at once is itself an event."""

ACTIONS = {
    "audit.trail.exported": "The trail, or that of one use case, was exported",
    "audit.download.requested": "A part of the trail, or an evidence pack, was asked for as a file",
    "audit.download.taken": "A file of the trail, or an evidence pack, was downloaded",
    "audit.pack.made": "An evidence pack was put together",
    "audit.report.read": "A report of the trail was made for printing",
    "audit.row.untold": "A row of a governed table was found changed without an event that tells of it",
}
