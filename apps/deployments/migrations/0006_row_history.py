"""What should run is governed: what happens to its rows is kept. What agents and gateways say of it every few seconds is not."""

from django.db import migrations

from apps.audit.governing import govern


class Migration(migrations.Migration):
    dependencies = [("deployments", "0005_memory_of_engines"), ("audit", "0003_row_history")]

    operations = [
        govern("deployments_deployment", unkept=["observed", "observed_generation", "observed_at", "ready_at", "url", "pid", "engine_starts", "failures", "timings_ms", "detail"]),
        govern("deployments_endpoint"),
        govern("deployments_endpointkey", secret=["key_hash"]),
        govern("deployments_host", unkept=["last_seen_at", "heartbeat_at", "cpu_count", "memory_bytes", "gpus", "engines", "running", "facts"]),
        govern("deployments_rollbackrehearsal"),
        govern("deployments_rollout", unkept=["waiting_for"]),
        govern("deployments_trafficshift", unkept=["published_at", "snapshot_version", "confirmed_at"]),
        govern("deployments_workorder", secret=["envelope"], unkept=["state", "progress_at", "detail"]),
    ]
