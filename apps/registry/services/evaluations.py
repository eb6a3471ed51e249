"""Evaluations and bias audits, attached to a version once and never changed."""

from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import digest_of, plain
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid
from apps.registry import selectors
from apps.registry.models import Dataset, Evaluation, ModelVersion
from apps.registry.rules import evaluations as rules
from apps.registry.services.may import check_may_edit_model


@transaction.atomic
def attach_evaluation(*, actor: Actor, version_id: Any, document: Any, source: str = "upload") -> Evaluation:
    """Attach a document in the published schema to a version. One of the same kind and name takes the place of the older one.

    The same document again changes nothing. A dataset it names must be one the registry knows. Raises NotAllowed, NotFound, Invalid
    (names the field), Conflict for a version whose files are not digested: figures without files prove nothing.
    """
    found = selectors.version_by_id(actor, version_id)
    check_may_edit_model(actor, found.model)
    document = rules.checked(document)
    # The version's row is the lock: of two at once one supersedes the other.
    row = ModelVersion.objects.select_for_update(no_key=True).get(id=found.id)
    if not row.artifact_digest or row.status != "ready":
        raise Conflict(f"The files of {found.label} are {row.status}: an evaluation is of files that were read. Ask for a fresh reading.")
    digest = digest_of(document)
    same = Evaluation.objects.filter(version=row, digest=digest).first()
    if same is not None and same.superseded_by_id is None:
        return same
    if same is not None:
        raise Conflict(
            "This document was attached before, and a later one has taken its place. Attach it under another name, or with a note."
        )
    older = Evaluation.objects.filter(version=row, kind=document["kind"], name=document["name"], superseded_by=None).first()
    made = Evaluation(
        version=row, artifact_digest=row.artifact_digest, kind=document["kind"], name=document["name"], source=source,
        dataset=_dataset(document), document=plain(document), digest=digest, figures=plain(rules.figures_of(document)),
        attached_by=actor.label[:300], attached_at=now(),
    )  # fmt: skip
    if older is not None:
        _supersede(older, made)
    else:
        made.save()
    audit.record(
        "registry.evaluation.attached", actor=actor, obj_type="modelversion", obj_id=str(row.id), obj_label=found.label,
        after={"evaluation": str(made.id), "kind": made.kind, "name": made.name, "source": source, "digest": digest,
               "supersedes": str(older.id) if older else None},
    )  # fmt: skip
    return made


@transaction.atomic
def attach_from_run(
    *, actor: Actor, version_id: Any, name: str, prefix: str = "", task: str = "", dataset: dict[str, str] | None = None
) -> Evaluation:
    """Attach what mlflow.evaluate (or any logging) left in the run's metrics whose names begin with `prefix`."""
    found = selectors.version_by_id(actor, version_id)
    check_may_edit_model(actor, found.model)
    document = rules.from_run(found.metrics, prefix=prefix, name=name, task=task)
    data = [i.dataset for i in found.inputs.all() if i.context not in {"", "train", "training"}]
    if dataset:
        document["dataset"] = dataset
    elif len(data) == 1:
        document["dataset"] = {"name": data[0].name, "digest": data[0].digest}
    return attach_evaluation(actor=actor, version_id=version_id, document=document, source="run")


def _supersede(older: Evaluation, made: Evaluation) -> None:
    """The unique index allows one in force: the older one points at the new one before that is there, checked at commit."""
    Evaluation.objects.filter(id=older.id).update(superseded_by=made.id)
    made.save()


def _dataset(document: dict[str, Any]) -> Dataset | None:
    named = document.get("dataset")
    if not named:
        return None
    found = Dataset.objects.filter(name=named["name"], digest=named["digest"]).first()
    if found is None:
        raise Invalid(
            "dataset: the registry knows no such dataset. Log it with mlflow.log_input in a run that a version comes from.",
            errors={"dataset": ["Unknown name or digest."]},
        )
    return found
