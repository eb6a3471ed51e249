"""Writes of the registry, one verb each. `sync` talks to MLflow first and then makes one of these calls."""

from apps.registry.services.aliases import record_alias, remove_alias
from apps.registry.services.cards import change_failure_mode, record_failure_mode, save_card
from apps.registry.services.datasets import accept_openlineage, govern_dataset
from apps.registry.services.evaluations import attach_evaluation, attach_from_run
from apps.registry.services.findings import freeze_version
from apps.registry.services.governance import assign_owner, check_access
from apps.registry.services.scans import record_scan, request_scan, scan_version
from apps.registry.services.signing_keys import retire_key, trust_key
from apps.registry.services.sync import apply_alias, discover, look_at_model, look_at_version, request_sync, sync_version
from apps.registry.services.versions import created_experiment, created_model, created_version, mark_changed, note_download, record_version
from apps.registry.services.writes import begin_write, deny_write, fail_write

__all__ = [
    "accept_openlineage",
    "apply_alias",
    "assign_owner",
    "attach_evaluation",
    "attach_from_run",
    "begin_write",
    "change_failure_mode",
    "check_access",
    "created_experiment",
    "created_model",
    "created_version",
    "deny_write",
    "discover",
    "fail_write",
    "freeze_version",
    "govern_dataset",
    "look_at_model",
    "look_at_version",
    "mark_changed",
    "note_download",
    "record_alias",
    "record_failure_mode",
    "record_scan",
    "record_version",
    "remove_alias",
    "request_scan",
    "request_sync",
    "retire_key",
    "save_card",
    "scan_version",
    "sync_version",
    "trust_key",
]
