"""What the application's database role may do here: orders, starts and shifts are never deleted."""

_KEPT = ["SELECT", "INSERT", "UPDATE"]

GRANTS = {
    "deployments_workorder": {"gatehouse_app": _KEPT},
    "deployments_enginestart": {"gatehouse_app": _KEPT},
    "deployments_trafficshift": {"gatehouse_app": _KEPT},
    "deployments_rollout": {"gatehouse_app": _KEPT},
    "deployments_rollbackrehearsal": {"gatehouse_app": _KEPT},
}
