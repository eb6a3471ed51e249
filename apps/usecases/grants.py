"""What the application's database role may do here: moves are only ever added."""

GRANTS = {
    "usecases_stagemove": {"gatehouse_app": ["SELECT", "INSERT"]},
    "usecases_usecase": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
}
