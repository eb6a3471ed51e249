"""What the application's database role may do here: policies, attestations and signatures are never deleted."""

GRANTS = {
    "approvals_policyversion": {"gatehouse_app": ["SELECT", "INSERT"]},
    "approvals_gate": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "approvals_attestation": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "approvals_delegation": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "approvals_comment": {"gatehouse_app": ["SELECT", "INSERT"]},
    "approvals_attachment": {"gatehouse_app": ["SELECT", "INSERT"]},
    "approvals_waiver": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "approvals_look": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE", "DELETE"]},
    "approvals_evidencewatch": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE", "DELETE"]},
    "approvals_reminder": {"gatehouse_app": ["SELECT", "INSERT"]},
    "approvals_signature": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
}
