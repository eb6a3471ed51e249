"""What people say of datasets, and lineage that other tools report."""

from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.clock import now
from apps.core.errors import Conflict, NotFound
from apps.registry import rules
from apps.registry.models import Dataset, GovernedDataset, LineageEvent, ModelVersion, RunEdge
from apps.registry.rules import datasets as wording
from apps.registry.rules import openlineage
from apps.registry.selectors import datasets as reads
from apps.registry.services.cards import owner_named


@transaction.atomic
def govern_dataset(
    *, actor: Actor, dataset_id: Any, revision: int | None = None, owner_email: str | None = None, **fields: str
) -> GovernedDataset:
    """Save what holds for all versions of a dataset: permissions, licence, retention, sensitivity, owner. Fields left out stay.

    `revision`: the one the person has read; Conflict when somebody saved since. Raises NotAllowed, NotFound, Invalid (names the field).
    """
    rules.check_may_edit(actor)
    found = reads.dataset(actor, dataset_id)
    values: dict[str, Any] = wording.checked(fields)
    if owner_email is not None:
        values["owner"] = owner_named(owner_email)
    locked = GovernedDataset.objects.select_for_update(no_key=True, of=("self",)).select_related("owner")
    row = locked.filter(name=found.name).first() or GovernedDataset(name=found.name)
    if row._state.adding and any(getattr(row, name) != value for name, value in values.items()):
        # A rival may make it in the same moment: whoever is second reads what the first has saved.
        GovernedDataset.objects.get_or_create(name=found.name)
        row = locked.get(name=found.name)
    if revision is not None and revision != row.revision:
        raise Conflict(f"revision: it was saved by {row.updated_by or 'somebody'} meanwhile. Read it again, then save.")
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not changed:
        return row
    before = {name: str(getattr(row, name) or "") for name in changed}
    for name, value in changed.items():
        setattr(row, name, value)
    row.revision += 1
    row.updated_by, row.updated_at = actor.label[:300], now()
    row.save(update_fields=[*changed, "revision", "updated_by", "updated_at"])
    audit.record(
        "registry.dataset.governed", actor=actor, obj_type="dataset", obj_id=str(row.id), obj_label=row.name,
        before=before, after={name: str(value or "") for name, value in changed.items()},
    )  # fmt: skip
    return row


@transaction.atomic
def accept_openlineage(*, actor: Actor, event: Any) -> tuple[LineageEvent, bool]:
    """Keep an OpenLineage run event and the edges between its run and datasets; returns it and whether it was new.

    The same event again changes nothing. A run that a version came from has to be in the actor's sight. What a run itself logged, and
    what a decision rests on, is not touched: these edges stand beside it. Raises NotAllowed, NotFound, Invalid (names the field).
    """
    rules.check_may_edit(actor)
    facts = openlineage.read_event(event)
    behind = ModelVersion.objects.filter(run_id=facts.run_id)
    if behind.exists() and behind.exclude(id__in=ModelVersion.objects.visible_to(actor).values("id")).exists():
        raise NotFound("run.runId: there is no such run, or you may not see it. Check the id.")
    row, created = LineageEvent.objects.get_or_create(
        digest=digest_of(event),
        defaults={
            "run_id": facts.run_id, "job_namespace": facts.job_namespace, "job_name": facts.job_name, "event_type": facts.event_type,
            "event_at": facts.event_at, "producer": facts.producer, "body": event, "received_by": actor.label[:300], "received_at": now(),
        },
    )  # fmt: skip
    if not created:
        return row, False
    added = []
    for direction, named in [("input", n) for n in facts.inputs] + [("output", n) for n in facts.outputs]:
        if named.namespace == f"{openlineage.OWN}:models":  # our own export, coming back: the version is there already
            continue
        schema = {"fields": [{"name": n, "type": t} for n, t in named.columns]} if named.columns else {}
        dataset, _ = Dataset.objects.get_or_create(
            name=named.known_as, digest=named.version,
            defaults={"source_type": "openlineage", "source": named.uri or named.namespace, "schema": schema},
        )  # fmt: skip
        edge, fresh = RunEdge.objects.get_or_create(run_id=facts.run_id, dataset=dataset, direction=direction, defaults={"event": row})
        if fresh:
            added.append(f"{edge.direction}: {dataset}")
    audit.record(
        "registry.lineage.received", actor=actor, obj_type="run", obj_id=facts.run_id, obj_label=facts.job_name,
        after={"event": row.digest, "producer": facts.producer, "edges": added},
    )  # fmt: skip
    return row, True
