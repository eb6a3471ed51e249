"""What the application's database role may do here: decisions and revocations are only ever added."""

GRANTS = {
    "decisions_decision": {"gatehouse_app": ["SELECT", "INSERT"]},
    "decisions_revocation": {"gatehouse_app": ["SELECT", "INSERT"]},
    "decisions_hold": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
}
