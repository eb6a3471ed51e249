"""Use cases are governed: what happens to their rows is kept."""

from django.db import migrations

from apps.audit.governing import govern


class Migration(migrations.Migration):
    dependencies = [("usecases", "0007_phases_renewed"), ("audit", "0003_row_history")]

    operations = [
        govern("usecases_functionaccess"),
        govern("usecases_integrationpoint"),
        govern("usecases_person"),
        govern("usecases_requirements"),
        govern("usecases_rolloutphase"),
        govern("usecases_stagemove"),
        govern("usecases_tierexception"),
        govern("usecases_usecase"),
        govern("usecases_usedmodel"),
    ]
