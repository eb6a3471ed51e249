"""What the application's database role may do here: windows are only ever added; a trigger says what may be written of a label."""

GRANTS = {
    "monitoring_monitorwindow": {"gatehouse_app": ["SELECT", "INSERT"]},
    "monitoring_predictionlabel": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "monitoring_incident": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "monitoring_monitor": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
}
