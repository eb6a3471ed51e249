"""What the application's database role may do here: runs are never deleted, failed ones least of all."""

GRANTS = {"loadtests_loadrun": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]}}
