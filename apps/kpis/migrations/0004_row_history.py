"""KPIs, baselines, measurements and money are governed: what happens to their rows is kept."""

from django.db import migrations

from apps.audit.governing import govern


class Migration(migrations.Migration):
    dependencies = [("kpis", "0003_measured_or_given"), ("audit", "0003_row_history")]

    operations = [
        govern("kpis_baseline"),
        govern("kpis_costentry"),
        govern("kpis_kpi"),
        govern("kpis_measurement"),
        govern("kpis_ratecard"),
        govern("kpis_valueconversion"),
    ]
