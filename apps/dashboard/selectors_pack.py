"""What an evidence pack holds beside the trail: read across the apps as one person may see it; audit asks through settings.AUDIT_PACK_CONTENTS.

Documents that something signed or sealed names by digest are written as the very text that was hashed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model, QuerySet
from django.template.loader import render_to_string

from apps.approvals import selectors as approvals
from apps.approvals.models import Gate
from apps.audit import catalogue
from apps.audit.pack import Contents, Document
from apps.core.actor import Actor
from apps.core.canonical import canonical_json, plain
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.core.ids import slugify
from apps.dashboard import selectors_asof, selectors_lineage
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.deployments.models import Deployment, Endpoint, Rollout, TrafficShift, WorkOrder
from apps.kpis import selectors as kpis
from apps.loadtests.models import LoadRun
from apps.monitoring.models import Incident
from apps.registry.models import ModelVersion
from apps.registry.rules import cards as card_rules
from apps.registry.selectors import cards, evaluations, scans
from apps.usecases import phase_selectors
from apps.usecases import selectors as usecases
from apps.usecases.models import RolloutPhase, UseCase

# Whatever grows without end is cut here, and the pack says so.
MOST = 2000


@dataclass(slots=True)
class Subject:
    """What the pack is of, gathered once: documents and the first page are made of it."""

    actor: Actor
    usecase: UseCase
    decision: Decision | None
    gates: list[Gate]
    decided: list[Decision]
    versions: list[ModelVersion]
    deployments: list[Deployment]
    load_runs: list[LoadRun]
    incidents: list[Incident]
    phases: list[RolloutPhase]
    cut: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.usecase.name}: {self.decision}" if self.decision else self.usecase.name


def contents(actor: Actor, usecase_id: str, decision_id: str | None) -> Contents:
    """The documents of one use case, or of one of its decisions. NotFound for what the actor may not see."""
    subject = _gather(actor, usecase_id, decision_id)
    ids = [g.id for g in subject.gates] + [v.id for v in subject.versions] + [g.policy_id for g in subject.gates]
    if subject.decision:
        ids += [subject.decision.id, *(d.id for d in subject.deployments)]
    ids += [v.model_id for v in subject.versions] + [p.id for p in subject.phases]
    made = list(_documents(subject))
    return Contents(
        title=subject.title,
        object_ids=sorted({str(i) for i in ids}),
        documents=made,
        total=len(made),
        index=lambda paths, events: _index(subject, paths, events),
    )


def _some(rows: QuerySet[Any], what: str, cut: list[str]) -> list[Any]:
    found = list(rows[: MOST + 1])
    if len(found) > MOST:
        cut.append(f"of the {what} the newest {MOST} of more")
    return found[:MOST]


def _gather(actor: Actor, usecase_id: str, decision_id: str | None) -> Subject:
    usecase = usecases.usecase(actor, usecase_id)
    cut: list[str] = []
    decision = approvals.decision(actor, decision_id) if decision_id else None
    if decision is not None and decision.usecase_id != usecase.id:
        raise NotFound("There is no such decision of this use case. Check both ids.")
    found = Gate.objects.visible_to(actor).filter(usecase=usecase).order_by("-id")
    gates = _some(found.filter(id=decision.gate_id) if decision else found, "gates", cut)
    gates = [approvals.gate(actor, g.id) for g in gates]
    decided = [decision] if decision else list(decisions.for_usecase(usecase.id)[:MOST])
    deployments = Deployment.objects.visible_to(actor).filter(endpoint__usecase=usecase).select_related("endpoint", "host").order_by("-id")
    load_runs = LoadRun.objects.visible_to(actor).filter(deployment__endpoint__usecase=usecase).defer("examples").order_by("-id")
    incidents = Incident.objects.visible_to(actor).filter(usecase=usecase).select_related("endpoint").order_by("-opened_at")
    # Those that were dropped or closed too: they are part of what happened.
    phases = RolloutPhase.objects.filter(usecase=usecase).select_related("owner")
    if decision:
        deployments = deployments.filter(artifact_digest=decision.artifact_digest, endpoint__environment=decision.environment)
        phases = phases.filter(id=decision.phase_id) if decision.phase_id else phases.none()
        load_runs, incidents = load_runs.filter(artifact_digest=decision.artifact_digest), incidents.filter(decision_id=decision.id)
    running = _some(deployments, "deployments", cut)
    wanted = {d.model_version_id for d in decided if d.model_version_id} | {d.model_version_id for d in running}
    wanted |= {g.model_version_id for g in gates if g.model_version_id}
    versions = list(ModelVersion.objects.filter(id__in=wanted).select_related("model").order_by("model__name", "version"))
    return Subject(
        actor,
        usecase,
        decision,
        gates,
        decided,
        versions,
        running,
        _some(load_runs, "load tests", cut),
        _some(incidents, "incidents", cut),
        list(phases.order_by("position", "created_at")),
        cut,
    )


def _json(path: str, value: Any) -> Document:
    return Document(path, (json.dumps(plain(value), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def _text(path: str, text: str) -> Document:
    return Document(path, text.encode())


def _row(found: Model, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row as it is stored, people by name."""
    out = {}
    for column in found._meta.concrete_fields:
        if column.name not in without and column.attname not in found.get_deferred_fields():
            value = getattr(found, column.attname)
            out[column.attname] = (
                str(getattr(found, column.name)) if value and column.related_model and column.related_model.__name__ == "User" else value
            )
    return out


def _documents(subject: Subject) -> Iterator[Document]:
    yield _json("usecase.json", _usecase(subject))
    for gate in subject.gates:
        yield from _gate(gate)
    yield _json("decisions.json", [_decision(d) for d in subject.decided])
    for version in subject.versions:
        yield from _version(subject, version)
    for run in subject.load_runs:
        yield _json(f"load-tests/{run.created_at:%Y%m%d}-{run.id}.json", _row(run))
    yield _json("deployments.json", _deployments(subject))
    if subject.phases:
        yield _json("rollout-phases.json", [_phase(subject, row) for row in subject.phases])
    yield _json("incidents.json", [_row(i) for i in subject.incidents])
    if not subject.decision:
        yield _json("kpis.json", _kpis(subject))
    at = now()
    rows = selectors_asof.endpoints(subject.actor, at=at, usecase=str(subject.usecase.id))
    yield _json("live-now.json", [then.as_dict() for then in selectors_asof.at_moment(rows[:MOST], at)])


def _usecase(subject: Subject) -> dict[str, Any]:
    usecase = subject.usecase
    wanted = usecases.requirements(usecase.id)
    return {
        **_row(usecase),
        "requirements": _row(wanted) if wanted else None,
        "integrations": [_row(i) for i in usecases.integrations(usecase.id)],
        "moves": [_row(m) for m in usecases.moves(usecase.id)],
        "models": usecases.model_names(usecase.id),
        "people": [{"name": str(p.user), "part": p.part} for p in usecases.access(usecase)],
        "left_out": subject.cut,
    }


def _gate(gate: Gate) -> Iterator[Document]:
    folder = folder_of(gate)
    yield _json(
        f"{folder}/gate.json", {**_row(gate, without=("evidence_text",)), "attestations": [_row(a) for a in gate.attestations.all()]}
    )
    yield _json(f"{folder}/signatures.json", [_row(s) for s in gate.signatures.all()])
    if gate.evidence_text:
        yield _text(f"{folder}/evidence.json", gate.evidence_text)
    yield _text(f"{folder}/policy.json", canonical_json(gate.policy.body))
    if gate.policy.text:
        yield _text(f"{folder}/policy.yaml", gate.policy.text)
    if waived := [_row(w) for w in gate.waivers.all()]:
        yield _json(f"{folder}/waivers.json", waived)
    if said := [_row(c) for c in gate.comments.all()]:
        yield _json(f"{folder}/comments.json", said)
    for attached in gate.attachments.all():
        name = slugify(attached.name.rpartition(".")[0] or attached.name)
        ending = slugify(attached.name.rpartition(".")[2])
        yield Document(f"{folder}/attachments/{str(attached.id)[:8]}-{name}.{ending}", bytes(attached.content))


def folder_of(gate: Gate) -> str:
    """Where a gate's documents lie."""
    return f"gates/{gate.created_at:%Y%m%d}-{slugify(str(gate))}-{str(gate.id)[-8:]}"


def version_folder(version: ModelVersion) -> str:
    """Where the documents of a model version lie; two names may read the same once they are made fit for a path."""
    return f"models/{slugify(version.model.name)}-{version.version}-{str(version.id)[-8:]}"


def _decision(found: Decision) -> dict[str, Any]:
    revocation = getattr(found, "revocation", None)
    return {
        **_row(found), "does_not_hold_because": decisions.state_of(found), "revocation": _row(revocation) if revocation else None,
        "holds": [_row(h) for h in found.holds.all()],
    }  # fmt: skip


def _version(subject: Subject, version: ModelVersion) -> Iterator[Document]:
    folder = version_folder(version)
    card = cards.document(version)
    yield _text(f"{folder}/card.html", card_rules.as_html(card))
    yield _text(f"{folder}/card.md", card_rules.as_markdown(card))
    # The revisions as they were hashed.
    for revision in cards.revisions(version)[:MOST]:
        yield _text(f"{folder}/card-revision-{revision.revision}.json", canonical_json(revision.fields))
    yield _json(f"{folder}/version.json", _row(version))
    yield _json(f"{folder}/lineage.json", selectors_lineage.of_version(subject.actor, version).as_dict())
    for found in evaluations.of_version(version)[:MOST]:
        place = f"{folder}/evaluations/{slugify(found.name)}-{str(found.id)[-8:]}"
        yield _text(f"{place}.json", canonical_json(found.document))
        yield _json(f"{place}-figures.json", {**_row(found, without=("document",)), "figures": found.figures})
    if checked := [_row(s) for s in scans.of_version(version)]:
        yield _json(f"{folder}/scans.json", checked)


def _deployments(subject: Subject) -> dict[str, Any]:
    ids = [d.id for d in subject.deployments]
    endpoints = {d.endpoint_id for d in subject.deployments}
    return {
        "endpoints": [_row(e) for e in Endpoint.objects.filter(id__in=endpoints)],
        "deployments": [{**_row(d, without=("url",)), "host": d.host.name} for d in subject.deployments],
        "rollouts": [_row(r) for r in Rollout.objects.filter(to_deployment_id__in=ids).order_by("id")],
        "traffic_shifts": [_row(s) for s in TrafficShift.objects.filter(endpoint_id__in=endpoints).order_by("-id")[:MOST]],
        "signed_start_orders": [
            {
                "deployment_id": o.deployment_id,
                "issued_at": o.issued_at,
                "state": o.state,
                "decision": json.loads(o.envelope["payload"]).get("decision"),
            }
            for o in WorkOrder.objects.filter(deployment_id__in=ids, kind="start").order_by("-id")[:MOST]
        ],
    }


def _phase(subject: Subject, row: RolloutPhase) -> dict[str, Any]:
    """A rollout phase with the ids of the gates that were about it, oldest first; their evidence lies in `gates/`."""
    about = sorted((g for g in subject.gates if g.phase_id == row.id), key=lambda g: g.created_at)
    return {**_row(row), "covers": phase_selectors.cohort(row).words, "gates": [{"id": g.id, "folder": folder_of(g)} for g in about]}


def _kpis(subject: Subject) -> list[dict[str, Any]]:
    rows = list(kpis.kpis(subject.actor, subject.usecase.id))
    heads = kpis.headlines(rows)
    return [{**_row(k), "headline": heads[k.id]} for k in rows]


def _index(subject: Subject, paths: list[str], events: list[Any]) -> bytes:
    """The first page: one file, no script, nothing from outside."""
    gates: list[dict[str, Any]] = [
        {"gate": g, "folder": folder_of(g), "signatures": [s for s in g.signatures.all() if s.void_at is None], "checks": _checks(g)}
        for g in subject.gates
    ]
    at = now()
    live = selectors_asof.at_moment(selectors_asof.endpoints(subject.actor, at=at, usecase=str(subject.usecase.id))[:MOST], at)
    context = {
        "subject": subject, "usecase": subject.usecase, "gates": gates, "paths": paths, "at": at, "live": live,
        "decisions": [{"decision": d, "why_not": decisions.state_of(d)} for d in subject.decided],
        "phases": [{"phase": p, "covers": phase_selectors.cohort(p).words} for p in subject.phases],
        "holding": len([d for d in subject.decided if not decisions.state_of(d)]),
        "signatures": sum(len(g["signatures"]) for g in gates),
        "models": [{"version": v, "folder": version_folder(v)} for v in subject.versions],
        "events": [{"event": e, "says": catalogue.meaning(e.action)} for e in events],
        "load_runs": [{"run": r, "path": f"load-tests/{r.created_at:%Y%m%d}-{r.id}.json"} for r in subject.load_runs],
    }  # fmt: skip
    return render_to_string("dashboard/pack.html", context).encode()


def _checks(gate: Gate) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gate.evidence_text)["checks"] if gate.evidence_text else []
    return found
