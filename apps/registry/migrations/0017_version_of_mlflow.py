from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0016_files_beside_a_model"),
    ]

    operations = [
        migrations.AddField(
            model_name="mlflowcontact",
            name="server_version",
            field=models.CharField(blank=True, default="", max_length=60),
        ),
    ]
