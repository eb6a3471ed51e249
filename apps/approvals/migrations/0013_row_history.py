"""What gates rest on is governed: what happens to its rows is kept."""

from django.db import migrations

from apps.audit.governing import govern


class Migration(migrations.Migration):
    dependencies = [("approvals", "0012_evidence_watch"), ("audit", "0003_row_history")]

    operations = [
        govern("approvals_attachment"),
        govern("approvals_attestation"),
        govern("approvals_comment"),
        govern("approvals_delegation"),
        govern("approvals_gate"),
        govern("approvals_policyversion"),
        govern("approvals_signature"),
        govern("approvals_waiver"),
    ]
