"""What monitoring writes in the trail."""

ACTIONS = {
    "monitoring.monitor.created": "A monitor was set up",
    "monitoring.monitor.retired": "A monitor was taken out of service",
    "monitoring.window.recorded": "A monitor judged a window of traffic",
    "monitoring.labels.recorded": "Labels of predictions arrived",
    "monitoring.labels.corrected": "Labels of predictions were corrected",
    "monitoring.incident.opened": "An incident was opened",
    "monitoring.incident.closed": "An incident was closed",
}
