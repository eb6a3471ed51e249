"""The evidence document of a gate: what is frozen, hashed and signed."""

import json
from datetime import datetime
from typing import Any

from apps.approvals import checks, waiver_rules
from apps.approvals.models import Gate
from apps.core.canonical import canonical_json
from apps.core.clock import iso, now
from apps.core.evidence import EvidenceSubject
from apps.registry.models import ModelVersion
from apps.usecases import phase_selectors

VERSION = 1


def subject_of(gate: Gate, as_of: datetime | None) -> EvidenceSubject:
    """What the gate's checks look at."""
    version = gate.model_version
    return EvidenceSubject(
        usecase_id=str(gate.usecase_id),
        model_version_id=str(version.id) if version else None,
        artifact_digest=version.artifact_digest if version else "",
        environment=gate.environment,
        model_version_label=version.label if version else "",
        as_of=as_of,
        phase_id=str(gate.phase_id) if gate.phase_id else None,
    )


def asked(gate: Gate) -> dict[str, Any]:
    """The policy's body as this gate is asked it: a rollout phase may name checks of its own, beside those of the policy.

    One that the policy asks for with other parameters is asked with both. It has a name of its own for waivers, so that what is let pass of
    the one is not let pass of the other.
    """
    body: dict[str, Any] = gate.policy.body
    if gate.phase is None or not gate.phase.checks:
        return body
    asked_by_policy: dict[str, list[Any]] = {}
    for row in body["checks"]:
        asked_by_policy.setdefault(row["check"], []).append(row["with"])
    own = []
    for row in gate.phase.checks:
        name, alike = row["check"], asked_by_policy.get(row["check"], [])
        if row["with"] in alike:
            continue
        title = checks.all_checks()[name].title if name in checks.all_checks() else name
        twice = {"title": f"{title}, as this phase asks", "subject": f"phase:{name}"} if alike else {"title": title}
        own.append({**row, **twice, "heading": "Of this phase"})
    return {**body, "checks": [*body["checks"], *own]}


def _model(version: ModelVersion | None) -> dict[str, Any] | None:
    if version is None:
        return None
    row = {
        "id": str(version.id), "label": version.label, "artifact_digest": version.artifact_digest, "run_id": version.run_id,
        "status": version.status, "author": version.author,
    }  # fmt: skip
    return row | ({"frozen_digest": version.frozen_digest} if version.frozen_digest else {})


def evaluate(gate: Gate, *, as_of: datetime | None) -> list[dict[str, Any]]:
    """Every check of the gate's policy, run now, as rows {check, with, title, state, found, asked, source, ...}."""
    subject, waived = subject_of(gate, as_of), waivers(gate)
    return [
        {**row, **checks.run(row["check"], subject, row["with"]).as_dict(), **waived.get(waiver_rules.name_of(row), {})}
        for row in asked(gate)["checks"]
    ]


def waivers(gate: Gate) -> dict[str, dict[str, Any]]:
    """Check or item -> what its row says of the waiver in force now: who let it pass, until when, and why."""
    moment = now()
    return {
        w.subject: {"waiver": {"id": str(w.id), "by": w.printed_name, "function": "risk", "until": iso(w.until), "reason": w.reason}}
        for w in gate.waivers.all()
        if waiver_rules.in_force(state=w.state, until=w.until, at=moment)
    }


def attachments(gate: Gate) -> dict[str, dict[str, Any]]:
    """Item -> the files beside its answer, by name and digest; without their content."""
    found: dict[str, dict[str, Any]] = {}
    for row in gate.attachments.defer("content").order_by("at", "id") if "attachments" not in prefetched(gate) else gate.attachments.all():
        files = found.setdefault(row.item, {"attachments": []})["attachments"]
        files.append({"id": str(row.id), "name": row.name, "size": row.size, "digest": row.digest})
    return found


def prefetched(gate: Gate) -> set[str]:
    """What was read along with the gate."""
    return set(getattr(gate, "_prefetched_objects_cache", {}))


def attested(gate: Gate) -> list[dict[str, Any]]:
    """Every item of the policy with the answer in force, if there is one."""
    answers = {a.item: a for a in gate.attestations.all() if a.superseded_at is None}
    waived, files, rows = waivers(gate), attachments(gate), []
    for item in gate.policy.body["attestations"]:
        said = answers.get(item["item"])
        rows.append(
            {
                **item, "answer": said.answer if said else "", "note": said.note if said else "",
                "by": str(said.by) if said else "", "at": said.at if said else None,
                **files.get(item["item"], {}), **waived.get(item["item"], {}),
            }
        )  # fmt: skip
    return rows


def row_now(gate: Gate, name: str) -> dict[str, Any]:
    """The row of one check or item as it stands now. Of a check that is asked more than once, the first that does not pass."""
    rows = [
        {**row, **checks.run(row["check"], subject_of(gate, None), row["with"]).as_dict()}
        for row in asked(gate)["checks"]
        if waiver_rules.name_of(row) == name
    ] or [row for row in attested(gate) if row["item"] == name]
    return next((r for r in rows if r.get("state", "pass") != "pass"), rows[0])


def document(gate: Gate, *, frozen_at: datetime, requested_by: str, requested_at: datetime | None) -> dict[str, Any]:
    """The whole evidence as of `frozen_at`, before it is made canonical: what the digest is of, key by key."""
    usecase = gate.usecase
    return {
        "v": VERSION,
        "gate": {
            "id": str(gate.id), "kind": gate.kind, "from_stage": gate.from_stage, "to_stage": gate.to_stage,
            "environment": gate.environment,
        },
        "usecase": {
            "id": str(usecase.id), "slug": usecase.slug, "name": usecase.name, "risk_tier": usecase.risk_tier, "stage": usecase.stage,
            "owner": usecase.owner.email,
            # Only what is said: a gate from before there was a word for it keeps its digest.
            **{name: getattr(usecase, name) for name in ("exposure", "purpose") if getattr(usecase, name)},
        },
        "model_version": _model(gate.model_version),
        **({"phase": phase_selectors.facts(gate.phase)} if gate.phase else {}),
        "policy": {"name": gate.policy.name, "version": gate.policy.version, "digest": gate.policy.digest},
        "quorum": gate.policy.quorum,
        "requested_by": requested_by,
        "requested_at": requested_at,
        "note": gate.note,
        "frozen_at": frozen_at,
        "checks": evaluate(gate, as_of=frozen_at),
        "attestations": attested(gate),
    }  # fmt: skip


def frozen(gate: Gate) -> dict[str, Any]:
    """The document that was frozen; {} before."""
    return json.loads(gate.evidence_text) if gate.evidence_text else {}


def live(gate: Gate) -> dict[str, Any]:
    """The document as it would read now, about the same moment; comparable with `frozen`."""
    assert gate.frozen_at is not None
    who = gate.requested_by.email if gate.requested_by else ""
    text = canonical_json(document(gate, frozen_at=gate.frozen_at, requested_by=who, requested_at=gate.requested_at))
    return json.loads(text)
