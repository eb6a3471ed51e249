"""A row says who measured it. What carries both marks of the portal was measured by it: nobody else could write them."""

from django.db import migrations, models
from django.db.models import Q

FORWARD = """
ALTER TABLE kpis_measurement DISABLE TRIGGER kpis_measurement_kept;
UPDATE kpis_measurement SET origin = 'measured' WHERE external_id LIKE 'monitor:%' AND source LIKE 'portal:%';
ALTER TABLE kpis_measurement ENABLE TRIGGER kpis_measurement_kept;
"""


class Migration(migrations.Migration):
    dependencies = [("kpis", "0002_frozen")]
    operations = [
        migrations.AddField(
            "measurement",
            "origin",
            models.CharField(choices=[("measured", "Measured"), ("given", "Given")], default="given", max_length=10),
        ),
        migrations.AddField("measurement", "recorded_by", models.CharField(blank=True, default="", max_length=300)),
        migrations.AddField("measurement", "counts", models.CharField(blank=True, default="", max_length=300)),
        migrations.RunSQL(FORWARD, migrations.RunSQL.noop),
        migrations.AddConstraint(
            "measurement",
            models.CheckConstraint(
                condition=Q(("origin", "given")) | Q(("external_id__startswith", "monitor:")), name="kpis_measured_has_the_mark"
            ),
        ),
    ]
