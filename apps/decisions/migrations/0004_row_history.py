"""Decisions are governed: what happens to their rows is kept."""

from django.db import migrations

from apps.audit.governing import govern


class Migration(migrations.Migration):
    dependencies = [("decisions", "0003_phase_decisions"), ("audit", "0003_row_history")]

    operations = [
        govern("decisions_decision"),
        govern("decisions_hold"),
        govern("decisions_revocation"),
    ]
