"""Reads MLflow, then makes one recording call: for control's tasks and commands. Never inside a transaction."""

import logging
from datetime import timedelta
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.doors import call
from apps.core.errors import NoLiveDecision, NotFound, UpstreamFailed
from apps.decisions import selectors as decisions
from apps.outbox import services as outbox
from apps.registry import rules, selectors
from apps.registry.gateways import mlflow
from apps.registry.models import AliasRecord, Finding, MlflowContact, ModelVersion
from apps.registry.services.aliases import record_alias
from apps.registry.services.mirror import mirror_model, mirror_models
from apps.registry.services.versions import compare_figures, mark_gone, record_version

log = logging.getLogger(__name__)
SYNC = "registry sync"
# Files of a version are read and compared with their digest again after this time.
VERIFY_AFTER = timedelta(hours=6)


def sync_version(*, name: str, version: int) -> ModelVersion | None:
    """Read a version and all its files from MLflow and record it. None when neither MLflow nor the portal knows it.

    Raises UpstreamFailed when MLflow cannot say; calling again is safe.
    """
    actor = Actor.system(SYNC)
    try:
        facts = mlflow.read_version(name, version)
    except NotFound:
        row = ModelVersion.objects.filter(model__name=name, version=version).first()
        return row and call(mark_gone, actor=actor, version_id=row.id)
    return call(record_version, actor=actor, facts=facts)


def discover() -> int:
    """Compare the portal's tables with MLflow and ask for what is due (see `_discover`); note whether MLflow could be reached."""
    try:
        asked = _discover()
        version = mlflow.server_version()
    except UpstreamFailed as error:
        call(note_contact, failure=error.detail)
        raise
    call(note_contact, version=version)
    return asked


@transaction.atomic
def note_contact(*, failure: str = "", version: str = "") -> MlflowContact:
    """Write down that MLflow answered and which version it is, or since when it does not and what it was."""
    row, _ = MlflowContact.objects.get_or_create(only=True)
    row.failing_since, row.detail = ((row.failing_since or now()) if failure else None), failure[:2000]
    if not failure:
        row.reached_at, row.server_version = now(), version[:60]
    row.save(update_fields=["reached_at", "failing_since", "detail", "server_version"])
    return row


def _discover() -> int:
    """Settle models, aliases and what is frozen, then ask for a reading of every version that the portal has not recorded yet, or has
    not verified for a while; returns how many were asked for."""
    mirror_models()
    sweep_frozen()
    settled = {
        (name, number): synced_at
        for name, number, synced_at in ModelVersion.objects.exclude(status="pending").values_list("model__name", "version", "synced_at")
    }
    old = now() - VERIFY_AFTER
    seen = set(mlflow.all_versions())
    due = [key for key in seen | settled.keys() if key not in settled or settled[key] is None or settled[key] < old]
    call(_ask_for, due)
    return len(due)


def sweep_frozen() -> int:
    """Compare what MLflow says of every frozen version that a decision names with what was frozen, one that is held too; returns how many were asked.

    Figures and the list of files are looked at each time, all files by the reading that discovery asks for now and then.
    """
    digests = decisions.standing().exclude(artifact_digest="").values("artifact_digest")
    rows = list(ModelVersion.objects.filter(artifact_digest__in=digests).select_related("model"))
    # Whatever becomes of the decision, an open finding is looked at until it is mended.
    rows += [f.version for f in Finding.objects.filter(closed_at=None).exclude(version=None).select_related("version__model")]
    rows = list({row.id: row for row in rows}.values())
    for row in rows:
        try:
            check_frozen(row)
        except UpstreamFailed as error:
            log.warning("%s could not be compared: %s", row.label, error.detail)
    return len(rows)


def look_at_version(*, name: str, version: int) -> None:
    """Somebody has written to a version or its run: take in what MLflow says now. Raises UpstreamFailed; calling again is safe."""
    row = ModelVersion.objects.select_related("model").filter(model__name=name, version=version).first()
    if row is None or row.status == "pending":
        sync_version(name=name, version=version)
    else:
        check_frozen(row)


def look_at_model(*, name: str) -> None:
    """The same for a registered model. Raises UpstreamFailed."""
    mirror_model(name)


def check_frozen(row: ModelVersion) -> None:
    """Look at one version without reading its files; read it whole when its files seem to differ. Raises UpstreamFailed."""
    try:
        facts = mlflow.read_version(row.model.name, row.version, files=False)
    except NotFound:
        call(mark_gone, actor=Actor.system(SYNC), version_id=row.id)
        return
    if row.status == "changed" or _files_differ(row):
        sync_version(name=row.model.name, version=row.version)
        return
    call(compare_figures, actor=Actor.system(SYNC), version_id=row.id, facts=facts)


def _files_differ(row: ModelVersion) -> bool:
    """Whether the lists of its files, or of those beside it, are not as they were read."""
    if not row.artifact_root:
        return False
    if mlflow.sizes(row.artifact_root) != row.artifact_sizes:
        return True
    if not row.beside_digest:
        return False
    if Finding.objects.filter(version=row, kind="beside", closed_at=None, found__has_key="beside_unread").exists():
        # The list alone cannot say whether they are as they were.
        return True
    try:
        return mlflow.sizes_beside(row.experiment_id, row.run_id, row.artifact_root) != row.beside
    except UpstreamFailed:
        # The whole reading says so, in a finding.
        return True


@transaction.atomic
def _ask_for(versions: list[tuple[str, int]]) -> None:
    for name, number in sorted(versions):
        outbox.put("registry.sync", {"name": name, "version": number})


@transaction.atomic
def request_sync(*, actor: Actor, version_id: Any) -> ModelVersion:
    """A person asks for a fresh reading; control makes it soon."""
    row = selectors.version_by_id(actor, version_id)
    rules.check_may_edit(actor)
    outbox.put("registry.sync", {"name": row.model.name, "version": row.version})
    audit.record("registry.sync.requested", actor=actor, obj_type="modelversion", obj_id=str(row.id), obj_label=row.label)
    return row


def apply_alias(*, model: str, alias: str, version: int, decision_id: Any, actor: Actor | None = None) -> AliasRecord:
    """Point an alias at a version in MLflow, then record it. A protected alias needs a decision that lives now.

    Raises NoLiveDecision, NotFound, UpstreamFailed. Safe to repeat: a crash between the two steps is mended by the next call.
    """
    actor = actor or Actor.system("registry alias")
    row = selectors.version(Actor.system(SYNC), model, version)
    environment = rules.protecting_environment(alias)
    if environment and (why := _why_not(row, environment, decision_id)):
        raise NoLiveDecision(f"The alias {alias} of {model} may not move to version {version}. {why}")
    mlflow.set_alias(model, alias, version)
    return call(record_alias, actor=actor, model=model, alias=alias, version=version, decision_id=decision_id)


def _why_not(row: ModelVersion, environment: str, decision_id: Any) -> str:
    """Why this decision does not let this version be named for the environment; "" when it does."""
    if row.status != "ready":
        return f"The version is {row.status}, not ready."
    if not decision_id:
        return "It follows a decision, and none was given."
    decision = decisions.decision(decision_id)
    if (decision.artifact_digest, decision.environment) != (row.artifact_digest, environment):
        return f"The decision given is about another artifact or another environment than {environment}."
    return decisions.state_of(decision)
