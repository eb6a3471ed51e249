"""Load tests are governed: what happens to their rows is kept."""

from django.db import migrations

from apps.audit.governing import govern


class Migration(migrations.Migration):
    dependencies = [("loadtests", "0001_initial"), ("audit", "0003_row_history")]

    operations = [
        govern("loadtests_loadrun"),
    ]
