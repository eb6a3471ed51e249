"""What the application's database role may do here: windows and labels are only ever added."""

GRANTS = {
    "monitoring_monitorwindow": {"gatehouse_app": ["SELECT", "INSERT"]},
    "monitoring_predictionlabel": {"gatehouse_app": ["SELECT", "INSERT"]},
    "monitoring_incident": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "monitoring_monitor": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
}
