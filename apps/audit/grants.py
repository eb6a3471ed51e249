"""What each database role may do with the trail's tables; nobody may change or delete."""

READ, SEAL = ["SELECT"], ["SELECT", "INSERT"]

GRANTS = {
    # The column list leaves `xid` to its default: a writer cannot claim to have written in another transaction.
    "audit_event": {"gatehouse_app": ["SELECT", "INSERT (id, payload)"], "gatehouse_seal": READ},
    "audit_leaf": {"gatehouse_app": READ, "gatehouse_seal": SEAL},
    "audit_subtree": {"gatehouse_app": READ, "gatehouse_seal": SEAL},
    # Written by triggers alone, as their owner.
    "audit_row": {"gatehouse_app": READ},
    "audit_row_looked": {"gatehouse_app": ["SELECT", "UPDATE"]},
    "audit_checkpoint": {"gatehouse_app": READ, "gatehouse_seal": SEAL},
}
