"""The registry is governed: what happens to its rows is kept. What is only copied from MLflow, which holds the truth of it, is not."""

from django.db import migrations

from apps.audit.governing import govern


class Migration(migrations.Migration):
    dependencies = [("registry", "0017_version_of_mlflow"), ("audit", "0003_row_history")]

    operations = [
        govern("registry_aliasrecord"),
        govern("registry_artifactscan"),
        govern("registry_cardrevision"),
        govern("registry_dataset"),
        govern("registry_evaluation"),
        govern("registry_experiment", unkept=["synced_at"]),
        govern("registry_failuremode"),
        govern("registry_finding"),
        govern("registry_frozenversion"),
        govern("registry_governeddataset"),
        govern("registry_lineageevent"),
        govern("registry_modelcard"),
        govern(
            "registry_modelversion",
            unkept=[
                "synced_at", "writing_until", "observed_digest", "tags", "run_name", "description", "experiment_id", "artifact_root",
                "artifact_sizes", "size_bytes", "beside", "beside_digest", "registered_at", "flavors",
            ],
        ),
        govern("registry_registeredmodel", unkept=["synced_at", "registered_at"]),
        govern("registry_runedge"),
        govern("registry_runinput"),
        govern("registry_signingkey"),
    ]
