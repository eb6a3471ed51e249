from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deployments', '0006_row_history'),
    ]

    operations = [
        migrations.AddField(
            model_name='gatewaystate',
            name='counts_since',
            field=models.DateTimeField(null=True),
        ),
    ]
