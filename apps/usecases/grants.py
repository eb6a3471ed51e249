"""What the application's database role may do here: moves are only ever added, phases never deleted."""

GRANTS = {
    "usecases_stagemove": {"gatehouse_app": ["SELECT", "INSERT"]},
    "usecases_rolloutphase": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "usecases_tierexception": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "usecases_usecase": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
}
