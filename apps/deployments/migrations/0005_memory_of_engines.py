from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deployments', '0004_previous_host_keys'),
    ]

    operations = [
        migrations.AddField(
            model_name='enginestart',
            name='memory_bytes',
            field=models.BigIntegerField(null=True),
        ),
    ]
