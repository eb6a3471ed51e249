"""Monitors and incidents are governed: what happens to their rows is kept."""

from django.db import migrations

from apps.audit.governing import govern


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0003_labels_are_kept"), ("audit", "0003_row_history")]

    operations = [
        govern("monitoring_incident"),
        govern("monitoring_monitor", unkept=["cursor_at"]),
    ]
