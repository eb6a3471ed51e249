"""What the application's database role may do here: what was frozen, kept, attached, scanned or received is only ever added."""

GRANTS = {
    "registry_cardrevision": {"gatehouse_app": ["SELECT", "INSERT"]},
    "registry_evaluation": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "registry_artifactscan": {"gatehouse_app": ["SELECT", "INSERT"]},
    "registry_lineageevent": {"gatehouse_app": ["SELECT", "INSERT"]},
    "registry_failuremode": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "registry_frozenversion": {"gatehouse_app": ["SELECT", "INSERT"]},
    "registry_finding": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
}
