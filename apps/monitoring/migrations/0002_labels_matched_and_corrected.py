"""A label says whether its prediction is known, and a correction is kept beside what it corrects."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0001_initial")]
    operations = [
        migrations.AddField("predictionlabel", "received_from", models.CharField(blank=True, default="", max_length=300)),
        migrations.AddField("predictionlabel", "first_received_at", models.DateTimeField(null=True)),
        migrations.RunSQL("UPDATE monitoring_predictionlabel SET first_received_at = received_at", migrations.RunSQL.noop),
        migrations.AlterField("predictionlabel", "first_received_at", models.DateTimeField()),
        migrations.AddField("predictionlabel", "matched_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "predictionlabel",
            "superseded_by",
            models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="supersedes", to="monitoring.predictionlabel"
            ),
        ),
        migrations.RemoveConstraint("predictionlabel", "monitoring_label_once"),
        migrations.AddConstraint(
            "predictionlabel",
            models.UniqueConstraint(
                condition=Q(("superseded_by", None)), fields=("endpoint", "request_id", "row"), name="monitoring_label_once"
            ),
        ),
        migrations.AddConstraint(
            "predictionlabel",
            models.CheckConstraint(condition=Q(("first_received_at__lte", F("received_at"))), name="monitoring_label_first_before"),
        ),
        migrations.AddIndex(
            "predictionlabel",
            models.Index(condition=Q(("matched_at", None)), fields=["endpoint", "received_at"], name="monitoring_label_unmatched"),
        ),
    ]
