"""Begin a gate, answer its items, request it (which freezes the evidence), take it back."""

from typing import Any

from django.db import IntegrityError, transaction

from apps.accounts.models import User
from apps.approvals import documents, rules, selectors
from apps.approvals.models import Attestation, Gate
from apps.approvals.services import news, watching
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import canonical_json, sha256_hex
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NotFound
from apps.registry import services as registry
from apps.registry.models import ModelVersion
from apps.usecases import phase_rules, phase_selectors
from apps.usecases import rules as usecase_rules
from apps.usecases import selectors as usecases
from apps.usecases import services as usecase_services
from apps.usecases.models import RolloutPhase, UseCase


def locked(actor: Actor, gate_id: Any) -> Gate:
    """The gate, visible to the actor (else NotFound), locked against every other writer of it."""
    found: Gate = Gate.objects.visible_to(actor).one("gate", id=gate_id)
    return (
        Gate.objects.select_for_update(of=("self",), no_key=True)
        .select_related("usecase__owner", "usecase__sponsor", "policy", "model_version__model", "requested_by", "opened_by", "phase__owner")
        .get(id=found.id)
    )


def _version(usecase: UseCase, model_version_id: Any, environment: str) -> ModelVersion:
    """The model version of a gate into an environment: of a linked model, ready, with its digest."""
    if model_version_id is None:
        raise Invalid(f"model_version: name the version that is to run in {environment}.", errors={"model_version": ["Needed."]})
    version = ModelVersion.objects.select_related("model").filter(id=model_version_id).first()
    if version is None or version.model.name not in usecases.model_names(usecase.id):
        raise NotFound("model_version: no such version of a model linked to this use case. Link the model to the use case first.")
    if version.status != "ready" or not version.artifact_digest:
        raise Conflict(
            f"model_version: {version.label} is {version.status}; its artifact has no settled digest. Sync it, then open the gate.",
            errors={"model_version": ["Not ready."]},
        )
    return version


def _phase(actor: Actor, usecase: UseCase, phase_id: Any) -> RolloutPhase:
    """The phase of a gate: of this use case and not dropped, the use case in production."""
    phase = phase_selectors.phase(actor, phase_id)
    if phase.usecase_id != usecase.id:
        raise Invalid("phase: this phase is of another use case.", errors={"phase": ["Of another use case."]})
    phase_rules.check_may_begin(stage=usecase.stage, state=phase.state)
    return phase


@transaction.atomic
def open_gate(
    *, actor: Actor, usecase_id: Any, to_stage: str = "", model_version_id: Any = None, note: str = "", phase_id: Any = None
) -> Gate:
    """Begin a gate as a draft: to the next stage, (to_stage pilot or production, already reached) for one more model version, or
    (phase_id) to open a rollout phase.

    Raises Conflict when no gate leads there, another is under way or no policy is published; Invalid naming the field.
    """
    usecase = usecases.usecase(actor, usecase_id)
    person = rules.check_may_open(actor, usecases.may_change(actor, usecase.id))
    phase = _phase(actor, usecase, phase_id) if phase_id is not None else None
    if phase is not None:
        shape, to_stage, model_version_id = rules.PHASE_SHAPE, usecase.stage, None
    else:
        shape = rules.shape(usecase.stage, to_stage, usecase_rules.GATE_OF_MOVE, usecase_rules.ENVIRONMENT_OF_STAGE)
    gate_name = shape.policy_gate
    if shape.kind == Gate.Kind.VERSION and selectors.held_for_tier(usecase.id, shape.environment).exists():
        # What opened the environment was suspended with the raised tier, so that gate is passed again, not the lighter one.
        gate_name = usecase_rules.GATE_OF_ENVIRONMENT[shape.environment]
    policy = selectors.policy_for(gate_name, usecase.risk_tier)
    if policy is None:
        raise Conflict(
            f"There is no published policy for {gate_name}. A policy owner publishes one; manage.py load_policies has those that ship."
        )
    version = _version(usecase, model_version_id, shape.environment) if shape.needs_model else None
    try:
        with transaction.atomic():
            gate = Gate.objects.create(
                usecase=usecase, kind=shape.kind, from_stage=usecase.stage, to_stage=to_stage, environment=shape.environment,
                model_version=version, policy=policy, opened_by_id=person, note=note.strip(), phase=phase,
            )  # fmt: skip
    except IntegrityError as error:
        raise Conflict("A gate like this is under way. Finish or withdraw it first.") from error
    # Approvers who answer an item of the draft have to see it.
    functions = [i["owner"] for i in policy.body["attestations"] if i["owner"] in policy.quorum]
    if functions:
        usecase_services.open_to_functions(actor=actor, usecase_id=usecase.id, functions=functions)
    audit.record(
        "approvals.gate.opened", actor=actor, obj_type="gate", obj_id=str(gate.id), obj_label=str(gate), usecase_id=str(usecase.id),
        after={
            "kind": gate.kind, "from_stage": gate.from_stage, "to_stage": to_stage, "environment": gate.environment,
            "model_version": version.label if version else None, "policy": str(policy), "note": gate.note,
            **({"phase_id": str(phase.id), "phase": phase.name} if phase else {}),
        },
    )  # fmt: skip
    return gate


@transaction.atomic
def attest(*, actor: Actor, gate_id: Any, item: str, answer: str, note: str) -> Attestation:
    """Answer one item of a draft as a named person; answering again replaces the answer, the old one stays readable."""
    gate = locked(actor, gate_id)
    # What was waived on an approved gate is answered later, which ends the waiver.
    waived = gate.state == Gate.State.APPROVED and gate.waivers.filter(subject=item, state="signed").exists()
    rules.check_state(gate.state, Gate.State.DRAFT, *([Gate.State.APPROVED] if waived else []))
    person = check_answerer(actor, gate, item)
    note = rules.check_answer(answer, note)
    moment = now()
    gate.attestations.filter(item=item, superseded_at=None).update(superseded_at=moment)
    row = Attestation.objects.create(gate=gate, item=item, answer=answer, note=note, by_id=person, at=moment)
    audit.record(
        "approvals.gate.attested", actor=actor, obj_type="gate", obj_id=str(gate.id), obj_label=str(gate),
        usecase_id=str(gate.usecase_id), after={"item": item, "answer": answer, "note": note},
    )  # fmt: skip
    return row


def check_answerer(actor: Actor, gate: Gate, item: str) -> str:
    """That the gate asks for this item and the actor answers it; returns their user id."""
    asked = next((i for i in gate.policy.body["attestations"] if i["item"] == item), None)
    if asked is None:
        known = ", ".join(i["item"] for i in gate.policy.body["attestations"]) or "none"
        raise Invalid(f"item: this gate has no item {item!r}. It has: {known}.", errors={"item": ["Unknown."]})
    people = {str(gate.usecase.owner_id), str(gate.usecase.sponsor_id)}
    may_change = usecases.may_change(actor, gate.usecase_id)
    return rules.check_may_attest(actor, asked["owner"], is_owner=actor.user_id in people, may_change=may_change)


def _void_signatures(actor: Actor, gate: Gate, reason: str) -> int:
    voided = 0
    for signature in gate.signatures.select_for_update(no_key=True).filter(void_at=None):
        signature.void_at, signature.void_reason = now(), reason
        signature.save(update_fields=["void_at", "void_reason"])
        audit.record(
            "approvals.signature.voided", actor=actor, obj_type="signature", obj_id=str(signature.id), obj_label=signature.printed_name,
            usecase_id=str(gate.usecase_id), reason=reason, before={"evidence_digest": signature.evidence_digest},
        )  # fmt: skip
        voided += 1
    return voided


@transaction.atomic
def request_gate(*, actor: Actor, gate_id: Any) -> Gate:
    """Evaluate the evidence, freeze it, and ask for signatures. On an open gate whose evidence changed: freeze it anew.

    Freezing anew voids the signatures given so far. Raises Conflict (`evidence-incomplete`) naming each check that does not pass.
    """
    gate = locked(actor, gate_id)
    person = rules.check_may_open(actor, usecases.may_change(actor, gate.usecase_id))
    rules.check_state(gate.state, Gate.State.DRAFT, Gate.State.OPEN)
    rules.check_is_theirs(actor, (gate.opened_by_id, gate.requested_by_id))
    _check_still_there(gate)
    _check_policy_fits(gate)
    again = gate.state == Gate.State.OPEN
    before = documents.frozen(gate)
    if again:
        found = rules.changes(before, documents.live(gate))
        if not found:
            raise Conflict("Nothing changed since the evidence was frozen. The signatures stay as they are.")
    moment = now()
    requester = gate.requested_by or User.objects.get(id=person)
    first_requested = gate.requested_at or moment
    if gate.model_version is not None:
        registry.freeze_version(actor=actor, version_id=gate.model_version_id)
    document = documents.document(gate, frozen_at=moment, requested_by=requester.email, requested_at=first_requested)
    rules.check_complete(document)
    gate.evidence_text = canonical_json(document)
    gate.evidence_digest = "sha256:" + sha256_hex(gate.evidence_text)
    gate.frozen_at, gate.requested_at, gate.requested_by = moment, first_requested, requester
    gate.due_at = rules.due(moment, gate.policy.body["due_days"])
    gate.state = Gate.State.OPEN
    voided = _void_signatures(actor, gate, "The evidence changed and was frozen again.") if again else 0
    gate.save(update_fields=["evidence_text", "evidence_digest", "frozen_at", "requested_at", "requested_by", "due_at", "state"])
    usecase_services.open_to_functions(actor=actor, usecase_id=gate.usecase_id, functions=[*gate.policy.quorum])
    audit.record(
        "approvals.gate.refrozen" if again else "approvals.gate.requested", actor=actor, obj_type="gate", obj_id=str(gate.id),
        obj_label=str(gate), usecase_id=str(gate.usecase_id),
        after={"evidence_digest": gate.evidence_digest, "due_at": gate.due_at, "quorum": gate.policy.quorum, "voided": voided},
    )  # fmt: skip
    if again:
        watching.note(gate, [])
    news.requested(actor, gate, again=again, voided=voided)
    return gate


def _check_still_there(gate: Gate) -> None:
    """The use case has not moved since the gate began."""
    if gate.usecase.stage != gate.from_stage:
        raise Conflict(
            f"The use case is at {gate.usecase.stage} now; this gate began at {gate.from_stage}. Withdraw it and begin a new one."
        )
    if gate.phase is not None:
        phase_rules.check_may_begin(stage=gate.usecase.stage, state=gate.phase.state)


def _check_policy_fits(gate: Gate) -> None:
    """The risk tier has not risen past the policy that the gate began under."""
    picked = selectors.policy_for(gate.policy.gate, gate.usecase.risk_tier, at=gate.created_at)
    same = picked is None or picked.id == gate.policy_id
    rules.check_tier_stands(policy_tier=gate.policy.tier, tier=gate.usecase.risk_tier, same_policy=same)


@transaction.atomic
def withdraw(*, actor: Actor, gate_id: Any, reason: str = "") -> Gate:
    """Take a draft or open gate back. Whoever may change the use case may."""
    gate = locked(actor, gate_id)
    rules.check_may_open(actor, usecases.may_change(actor, gate.usecase_id))
    rules.check_state(gate.state, Gate.State.DRAFT, Gate.State.OPEN)
    gate.state, gate.decided_at = Gate.State.WITHDRAWN, now()
    gate.save(update_fields=["state", "decided_at"])
    audit.record(
        "approvals.gate.withdrawn", actor=actor, obj_type="gate", obj_id=str(gate.id), obj_label=str(gate),
        usecase_id=str(gate.usecase_id), reason=reason.strip(),
    )  # fmt: skip
    news.withdrawn(actor, gate, reason.strip())
    return gate
