"""What the gate pages read beside apps.approvals.selectors: the inbox by what it asks of a person, and the ways on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import F, Q, QuerySet, prefetch_related_objects

from apps.approvals import documents, looks, rules, selectors
from apps.approvals.models import Gate
from apps.core.actor import Actor, Role
from apps.core.errors import CredentialsRefused, DomainError, Invalid
from apps.core.fields import Field
from apps.core.templatetags.gatehouse import short_digest
from apps.decisions import selectors as decisions
from apps.registry.models import ModelVersion
from apps.usecases import phase_selectors, stage_line
from apps.usecases import rules as usecase_rules
from apps.usecases import selectors as usecases
from apps.usecases.models import UseCase

LISTED = 100
OPEN_STATES = (Gate.State.DRAFT, Gate.State.OPEN)
ROLES_THAT_REVOKE = (Role.APPROVER,)


@dataclass(slots=True)
class InboxRow:
    """A gate in the inbox. `items` are texts of attestations that wait for the person; `signed` counts approvals; `news`: what others
    did since the person looked at `looked_at` (None: never)."""

    gate: Gate
    items: list[str] = field(default_factory=list)
    signed: int = 0
    wanted: int = 0
    passing: int = 0
    checks: int = 0
    looked_at: datetime | None = None
    news: str = ""

    @property
    def changes(self) -> int:
        """How much of its evidence has changed since the request, as the portal last saw."""
        watch = getattr(self.gate, "watch", None) if self.gate.state == Gate.State.OPEN else None
        return watch.changes if watch else 0


@dataclass(slots=True)
class Inbox:
    """What waits for the person, what they began, what else is under way, what was decided lately."""

    sign: list[InboxRow]
    answer: list[InboxRow]
    mine: list[InboxRow]
    others: list[InboxRow]
    decided: list[Gate]
    after: str = ""

    @property
    def changed(self) -> int:
        """Gates of the page whose evidence has changed since the request."""
        return sum(bool(row.changes) for row in (*self.sign, *self.answer, *self.mine, *self.others))


def inbox(actor: Actor, after: str = "") -> Inbox:
    """One page of the person's gates, the most urgent first, in a constant number of queries; `after`: where the page before ended."""
    found = Inbox([], [], [], [], [])
    under_way = selectors.gates(actor).filter(state__in=OPEN_STATES).defer(None).select_related("usecase__owner")
    related = under_way.prefetch_related("attestations__by", "waivers", "attachments")
    rows = list(_from(related, after).order_by(F("due_at").asc(nulls_last=True), "id")[: LISTED + 1])
    if len(rows) > LISTED:
        rows = rows[:LISTED]
        found.after = f"{rows[-1].due_at.isoformat() if rows[-1].due_at else ''}~{rows[-1].id}"
    waiting = set(selectors.waiting_on(actor).values_list("id", flat=True))
    changeable = set(UseCase.objects.changeable_by(actor).filter(id__in={g.usecase_id for g in rows}).values_list("id", flat=True))
    looked = looks.counts(actor, [g.id for g in rows])
    for gate in rows:
        row = _row(gate)
        row.looked_at, row.news = looked.get(gate.id, (None, ""))
        if gate.state == Gate.State.DRAFT:
            row.items = _items_for(actor, gate, gate.usecase_id in changeable)
        mine = actor.user_id in {str(gate.requested_by_id), str(gate.opened_by_id)}
        place = found.sign if gate.id in waiting else found.answer if row.items else found.mine if mine else found.others
        place.append(row)
    decided = selectors.gates(actor).exclude(state__in=OPEN_STATES).order_by("-decided_at")
    found.decided = list(decided[:15])
    return found


def _from(rows: QuerySet[Gate], after: str) -> QuerySet[Gate]:
    """The rows behind a key of `Inbox.after`; a key that is none begins anew."""
    due, _, last = after.partition("~")
    if not usecases.is_uuid(last):
        return rows
    try:
        moment = datetime.fromisoformat(due) if due else None
    except ValueError:
        return rows
    if moment is None or moment.tzinfo is None:
        return rows.filter(due_at=None, id__gt=last)
    return rows.filter(Q(due_at__gt=moment) | Q(due_at=moment, id__gt=last) | Q(due_at=None))


def _row(gate: Gate) -> InboxRow:
    checks = documents.frozen(gate).get("checks", [])
    return InboxRow(
        gate=gate, signed=sum(s.meaning == "approved" for s in gate.valid_signatures),  # type: ignore[attr-defined]
        wanted=sum(gate.policy.quorum.values()), checks=len(checks), passing=sum(c["state"] == "pass" for c in checks),
    )  # fmt: skip


def _items_for(actor: Actor, gate: Gate, may_change: bool) -> list[str]:
    """Texts of the items that are not answered and that this person may answer."""
    is_owner = actor.user_id in {str(gate.usecase.owner_id), str(gate.usecase.sponsor_id)}
    texts = []
    for item in documents.attested(gate):
        try:
            rules.check_may_attest(actor, item["owner"], is_owner=is_owner, may_change=may_change)
        except DomainError:
            continue
        if not item["answer"]:
            texts.append(item["text"])
    return texts


def say_what_was_wrong(error: CredentialsRefused, done: str) -> None:
    """In the words of a form: which of the two was not right, and that nothing happened."""
    what = "code" if "code" in error.errors else "password"
    error.detail, error.errors = f"The {what} is not right, so nothing was {done}. Try again.", {what: ["Not right."]}


def phases(gate: Gate) -> dict[str, Any]:
    """Of a gate that opens production, in whole or in part: the phase as it was signed, and the plan as it stands now."""
    signed = documents.frozen(gate).get("phase") or (phase_selectors.facts(gate.phase) if gate.phase else None)
    concerned = gate.kind == Gate.Kind.PHASE or gate.to_stage == "production"
    return {"phase": signed, "plan": phase_selectors.plan(gate.usecase_id) if concerned else []}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a gate: its decision, why that does not hold (empty: it does), and whether the reader may revoke it."""

    decision: Any
    why_not: str
    may_revoke: bool


def outcome(actor: Actor, gate: Gate) -> Outcome:
    """The decision of an approved gate as it stands now."""
    if gate.decision_id is None:
        return Outcome(None, "", False)
    decision = decisions.decision(gate.decision_id)
    why_not = decisions.state_of(decision)
    return Outcome(decision, why_not, not getattr(decision, "revocation", None) and (actor.is_admin or actor.has_role(*ROLES_THAT_REVOKE)))


def steps(gate: Gate) -> list[stage_line.Step]:
    """The line of the use case as it stands now, this gate named at the stage it leads to."""
    usecase = gate.usecase
    prefetch_related_objects([usecase], "moves")
    notes = {gate.to_stage: "opens with this gate"} if gate.state in OPEN_STATES and gate.kind == Gate.Kind.STAGE else {}
    return stage_line.steps(usecase.stage, usecase.stage_since, usecases.time_in_stages(usecase), notes)


def ways(usecase: UseCase) -> list[tuple[str, str]]:
    """(to_stage, words) of each gate that can be begun from where the use case stands."""
    on = [(to, f"move on to {stage_line.NAMES[to].lower()}") for frm, to in usecase_rules.GATE_OF_MOVE if frm == usecase.stage]
    here = {"pilot": ("pilot",), "production": ("production", "pilot")}.get(usecase.stage, ())
    return on + [(environment, f"one more model version into {environment}") for environment in here]


def opening(usecase: UseCase, to: Sequence[tuple[str, str]], versions: Sequence[ModelVersion]) -> list[Field]:
    """The form that begins a gate. Where there is one way, it is chosen already; where there are more, the person chooses."""
    none = usecase.stage == "proposal" or not versions
    retires = any(stage == "retired" for stage, _ in to)
    first = (("", "none"),) if none else (("", "none, to retire"),) if retires else (("", "choose"),) if len(versions) > 1 else ()
    about = "The gate is about exactly these files." if versions else "No version of a linked model is ready."
    if usecase.stage == "proposal":
        about += " A gate to proof of concept needs none."
    if retires:
        about += " To retire the use case none is needed."
    return [
        Field(
            "to", "What for", "select", required=True, wide=True,
            choices=(*((("", "choose"),) if len(to) > 1 else ()), *to),
        ),
        Field(
            "version", "Model version", "select", required=not (none or retires), wide=True, hint=about,
            choices=(*first, *((str(v.id), f"{v.label}, {short_digest(v.artifact_digest)}") for v in versions)),
        ),
        Field("note", "For those who sign", "textarea", hint="What they should know that the checks do not say."),
    ]  # fmt: skip


def as_opened(error: DomainError, ways: Sequence[str]) -> DomainError:
    """The refusal with the names of the form's fields; a gate that leads nowhere is answered with the ways there are."""
    names = {"to_stage": "to", "model_version": "version"}
    error.errors = {names.get(name, name): sentences for name, sentences in error.errors.items()}
    if "to" in error.errors and isinstance(error, Invalid):
        error.detail = f"Choose what the gate is for. From here it can be: {'; '.join(ways)}." if ways else "From here no gate leads on."
    return error


def candidates(usecase: UseCase) -> list[ModelVersion]:
    """Versions of linked models that can be proposed, newest first."""
    found = ModelVersion.objects.filter(model__used_by__usecase=usecase, status="ready").exclude(artifact_digest="")
    return list(found.select_related("model").order_by("-id")[:100])


def changeable(actor: Actor) -> list[UseCase]:
    """Use cases whose gates the actor may begin, with a way to go."""
    active = Q(stage__in=["proposal", "poc", "pilot", "production"])
    return list(UseCase.objects.visible_to(actor).changeable_by(actor).filter(active).order_by("name")[:200])
