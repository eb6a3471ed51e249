"""People, their rights and their tokens are governed: what happens to their rows is kept. Sign-ins move `last_login`, calls `last_used_at`."""

from django.db import migrations

from apps.audit.governing import govern


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_policy_owner"), ("audit", "0003_row_history"), ("guardian", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]

    operations = [
        govern("accounts_user", secret=["password"], unkept=["last_login"]),
        govern("accounts_roleassignment"),
        govern("accounts_apitoken", secret=["token_hash"], unkept=["last_used_at"]),
        govern("accounts_secondfactor", secret=["seed_box", "recovery"], unkept=["last_step"]),
        govern("accounts_user_groups"),
        govern("accounts_user_user_permissions"),
        govern("auth_group"),
        govern("auth_group_permissions"),
        govern("guardian_userobjectpermission"),
        govern("guardian_groupobjectpermission"),
    ]
