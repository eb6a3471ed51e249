"""Who is told is governed: what happens to these rows is kept. What each was told is not."""

from django.db import migrations

from apps.audit.governing import govern


class Migration(migrations.Migration):
    dependencies = [("notices", "0001_initial"), ("audit", "0003_row_history")]

    operations = [
        govern("notices_mailchoice"),
        govern("notices_webhook", secret=["key_box", "old_key_box"]),
    ]
