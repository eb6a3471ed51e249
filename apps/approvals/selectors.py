"""Reads of gates, decisions and policies, always from the use cases the actor may see."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, Exists, F, Func, IntegerField, JSONField, OuterRef, Prefetch, Q, QuerySet, Subquery, Value, When
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast, Coalesce, Lower

from apps.accounts import selectors as accounts
from apps.accounts.models import RoleAssignment, User
from apps.approvals import documents, look_rules, looks, policy_rules, rules, talk_rules, waiver_rules
from apps.approvals.models import Attachment, Attestation, Comment, Delegation, Gate, GateQuerySet, Look, PolicyVersion, Signature, Waiver
from apps.approvals.seats import Seat, approvers, seats
from apps.core.actor import Actor, Function, Role
from apps.core.clock import now
from apps.core.errors import DomainError, NotFound
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision, Hold
from apps.usecases import selectors as usecases
from apps.usecases.models import UseCase


def policies() -> QuerySet[PolicyVersion]:
    """All published policies, newest first; everybody signed in may read what is asked of them."""
    return PolicyVersion.objects.order_by("-id")


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy version, whether gates begun now follow it, and what it lacks in people: (function, people it takes, people there are)."""

    policy: PolicyVersion
    in_force: bool
    lacks: list[tuple[str, int, int]]


def policies_by_force() -> list[PolicyRow]:
    """Published versions, those in force first, by gate and tier; the newest of each gate and tier is in force."""
    newest: set[tuple[str, str]] = set()
    rows = []
    people = signers_by_function()
    for found in PolicyVersion.objects.order_by("gate", "tier", "-published_at", "-version"):
        in_force = (found.gate, found.tier) not in newest
        short = policy_rules.short_of(found.body, people) if in_force else {}
        rows.append(PolicyRow(found, in_force, [(f, needed, len(people.get(f, ()))) for f, (needed, _) in short.items()]))
        newest.add((found.gate, found.tier))
    places = {name: place for place, name in enumerate((*policy_rules.GATES, *policy_rules.TIERS))}
    return sorted(rows, key=lambda row: (not row.in_force, places[row.policy.gate], places[row.policy.tier]))


def policy(policy_id: Any) -> PolicyVersion:
    """One published policy version, or NotFound."""
    found = PolicyVersion.objects.filter(id=policy_id).first()
    if found is None:
        raise NotFound("There is no such policy. Look under Policies or GET /api/v1/policies/.")
    return found


def policy_for(gate: str, tier: str, *, at: datetime | None = None) -> PolicyVersion | None:
    """The policy in force (at a moment) for this gate and risk tier: its own before the one for any tier, the newest version."""
    rows = PolicyVersion.objects.filter(gate=gate, tier__in=[tier, "any"], **({"published_at__lte": at} if at else {}))
    own_first = Case(When(tier="any", then=Value(1)), default=Value(0), output_field=IntegerField())
    return rows.order_by(own_first, "-published_at", "-version").first()


def published_by_person(gate: str, tier: str) -> PolicyVersion | None:
    """The newest policy that a policy owner signed for this gate and tier, or for any tier; None while only shipped ones are there."""
    rows = PolicyVersion.objects.filter(gate=gate, tier__in=[tier, "any"], published_by__isnull=False)
    return rows.order_by("-published_at", "-version").first()


def replaced_by(body: dict[str, Any], text: str) -> tuple[PolicyVersion | None, list[policy_rules.DiffLine]]:
    """What is in force where this policy would be, and what changes against its text."""
    there = policy_for(body["gate"], body["tier"])
    return there, policy_rules.compared(there.text, text) if there else []


def signers_by_function() -> dict[str, set[str]]:
    """Function -> email addresses of those who sign for it now."""
    found: dict[str, set[str]] = {}
    held = RoleAssignment.objects.filter(role=Role.APPROVER, user__is_active=True).exclude(function="")
    for function, email in held.values_list("function", "user__email"):
        found.setdefault(function, set()).add(email.lower())
    return found


def held_for_tier(usecase_id: Any, environment: str) -> QuerySet[Hold]:
    """Open holds because the risk tier was raised, on what was approved for this environment."""
    return decisions.open_holds(source_type="tier", source_id=str(usecase_id)).filter(decision__environment=environment)


def gates_under(gate: str, tier: str) -> GateQuerySet:
    """Gates under way that a policy for this gate and tier would concern, whoever may see them."""
    rows = Gate.objects.filter(policy__gate=gate, state__in=[Gate.State.DRAFT, Gate.State.OPEN])
    return rows if tier == "any" else rows.filter(usecase__risk_tier=tier)  # type: ignore[return-value]


def delegations(actor: Actor) -> QuerySet[Delegation]:
    """Delegations the actor gave or took, newest first; all for those who see everything."""
    rows = Delegation.objects.select_related("delegator", "delegate").order_by("-id")
    return rows if actor.sees_everything else rows.filter(Q(delegator_id=actor.user_id) | Q(delegate_id=actor.user_id))


def delegated_to(user_id: Any) -> QuerySet[Delegation]:
    """Delegations by which this person signs for somebody now, of approvers who still hold the function."""
    moment = now()
    holds = RoleAssignment.objects.filter(user_id=OuterRef("delegator_id"), role=Role.APPROVER, function=OuterRef("function"))
    return Delegation.objects.filter(
        Exists(holds), delegate_id=user_id, ended_at=None, starts_at__lte=moment, ends_at__gt=moment, delegator__is_active=True
    )


def delegated_functions(user_id: Any) -> QuerySet[Any]:
    """The functions of those; use cases ask by name (settings.USECASE_DELEGATIONS)."""
    return delegated_to(user_id).values("function")


def gates(actor: Actor, *, usecase_id: Any = None, state: str = "", waiting: bool = False) -> QuerySet[Gate]:
    """Visible gates, newest first, with what a list shows in a constant number of queries. waiting: those that wait on the actor."""
    rows = waiting_on(actor) if waiting else Gate.objects.visible_to(actor)
    if usecase_id is not None:
        rows = rows.filter(usecase_id=usecase_id)
    if state:
        rows = rows.filter(state=state)
    valid = Prefetch("signatures", Signature.objects.filter(void_at=None).order_by("signed_at"), to_attr="valid_signatures")
    related = ("usecase", "policy", "model_version__model", "requested_by", "opened_by", "phase", "watch")
    return rows.select_related(*related).defer("evidence_text").prefetch_related(valid).order_by("-id")


def waiting_on(actor: Actor) -> QuerySet[Gate]:
    """Open gates that this person's signature would bring forward: function asked for and not complete, not theirs, not signed."""
    if not actor.user_id:
        return Gate.objects.none()
    own = actor.functions.intersection(Function) if actor.has_role(Role.APPROVER) else frozenset()
    lent = list(delegated_to(actor.user_id).values_list("function", "delegator__email"))
    functions = sorted({*own, *(function for function, _ in lent)})
    if not functions:
        return Gate.objects.none()
    address = Lower(Subquery(User.objects.filter(id=actor.user_id).values("email")))
    mine = Func(address, function="jsonb_build_array", output_field=JSONField())
    wanted = Q(pk__in=[])
    rows = Gate.objects.visible_to(actor).filter(state=Gate.State.OPEN)
    for function in functions:
        approving = Signature.objects.filter(gate=OuterRef("pk"), function=function, meaning="approved", void_at=None)
        needed = KeyTextTransform(function, KeyTransform("quorum", "policy__body"))
        count = Subquery(approving.order_by().values("gate").annotate(n=Count("id")).values("n"))
        rows = rows.annotate(
            **{
                f"given_{function}": Coalesce(count, Value(0), output_field=IntegerField()),
                f"needed_{function}": Cast(needed, IntegerField()),
            }
        )
        # Where the policy names people, one of those the actor signs as is among them.
        named = f"policy__body__pools__{function}__people"
        among = Q(**{f"{named}__isnull": True})
        for voice in [*([mine] if function in own else []), *([email.lower()] for of, email in lent if of == function)]:
            among |= Q(**{f"{named}__contains": voice})
        wanted |= Q(**{f"needed_{function}__gt": 0}) & Q(**{f"given_{function}__lt": F(f"needed_{function}")}) & among
    signed = Signature.objects.filter(gate=OuterRef("pk"), signer_id=UUID(actor.user_id), void_at=None)
    rows = rows.filter(wanted).filter(~Exists(signed))
    for theirs in ("requested_by_id", "opened_by_id", "model_version__author_user_id"):
        rows = rows.exclude(**{theirs: actor.user_id})
    return rows


def count_waiting_on(actor: Actor) -> int:
    """How many gates wait on this person: two queries, one for people who sign for nobody."""
    return waiting_on(actor).count()


def gate(actor: Actor, gate_id: Any) -> Gate:
    """One visible gate with all that its page shows, or NotFound."""
    rows = Gate.objects.visible_to(actor).select_related(
        "usecase__owner", "usecase__sponsor", "policy", "model_version__model", "requested_by", "opened_by", "decision", "phase__owner", "watch"
    )
    answers = Prefetch("attestations", Attestation.objects.select_related("by").order_by("at"))
    signed = Prefetch("signatures", Signature.objects.select_related("signer").order_by("signed_at"))
    waived = Prefetch("waivers", Waiver.objects.select_related("asked_by").order_by("asked_at"))
    said = Prefetch("comments", Comment.objects.select_related("by").order_by("at"))
    files = Prefetch("attachments", Attachment.objects.select_related("by").defer("content").order_by("at", "id"))
    return rows.prefetch_related(answers, signed, waived, said, files).one("gate", id=gate_id)


def asks_credentials(actor: Actor, gate_id: Any) -> bool:
    """Whether signing this visible gate asks for credentials; NotFound when it is not visible."""
    found: Gate = Gate.objects.visible_to(actor).select_related("policy").one("gate", id=gate_id)
    return found.policy.e_signature


@dataclass(frozen=True, slots=True)
class GatePage:
    """All that the page of a gate needs, for one reader.

    evidence and attestations: as frozen; before that, as they stand now. changes: what changed since freezing (open gates only).
    my_functions: in which the reader may sign now; why_not: else the sentence that says why not, for approvers. asks_code: a signature needs
    the code of the reader's generator.
    my_items: attested items the reader may answer now. may_waive: what the reader may ask a waiver for, as (name, title).
    look: the reader's last one, if any; news: what is new since then, or since the look before it while they go on reading.
    """

    gate: Gate
    question: str
    evidence: list[dict[str, Any]]
    attestations: list[dict[str, Any]]
    passing: int
    open_points: dict[str, str]
    seats: list[Seat]
    voided: list[Signature]
    refusals: list[Signature]
    abstained: list[Signature]
    waivers: list[Waiver]
    changes: list[dict[str, str]]
    my_functions: list[str]
    why_not: str
    asks_code: bool
    my_items: list[str]
    may_request: bool
    may_withdraw: bool
    may_waive: list[tuple[str, str]]
    signs_waivers: bool
    standing_in: list[Delegation]
    signs_for_self: bool
    comments: list[Comment]
    may_comment: bool
    shown: dict[str, Any]
    look: Look | None
    news_since: datetime | None
    news: list[look_rules.News]


def gate_page(actor: Actor, gate_id: Any) -> GatePage:
    """Read a gate for one reader; evaluates the checks again unless the gate is decided."""
    found = gate(actor, gate_id)
    document = documents.frozen(found)
    current: dict[str, Any] = {}
    if found.state == Gate.State.OPEN:
        current = documents.live(found)
    elif not document:
        current = {"checks": documents.evaluate(found, as_of=None), "attestations": documents.attested(found)}
    shown = document or current
    valid = [s for s in found.signatures.all() if s.void_at is None]
    may_change = usecases.may_change(actor, found.usecase_id)
    changes = rules.changes(document, current) if found.state == Gate.State.OPEN else []
    is_open = found.state == Gate.State.OPEN and actor.user_id is not None
    standing_in = list(delegated_to(actor.user_id).select_related("delegator")) if is_open else []
    people = approvers(found)
    known = {str(p.id): p for held in people.values() for p in held}
    functions, why_not = _my_signature(actor, found, valid, changes, standing_in, known)
    theirs = actor.user_id is not None and actor.user_id in {str(found.opened_by_id), str(found.requested_by_id)}
    draft = found.state == Gate.State.DRAFT
    signs = bool(functions) or (actor.has_role(Role.APPROVER) and waiver_rules.SIGNER in actor.functions)
    look = looks.last(actor, found.id)
    news_since, news = looks.news(actor, found, current or document, look)
    asks_code = signs and accounts.has_second_factor(actor.user_id)
    return GatePage(
        gate=found, question=found.policy.body["question"], evidence=shown["checks"], attestations=shown["attestations"],
        passing=sum(c["state"] == "pass" for c in shown["checks"]), open_points=rules.failing(shown), seats=seats(actor, found, valid, people),
        voided=[s for s in found.signatures.all() if s.void_at is not None], refusals=[s for s in valid if s.meaning in ("rejected", "stopped", "rebuild")],
        abstained=[s for s in valid if s.meaning == "abstain"], waivers=list(found.waivers.all()),
        changes=changes, my_functions=functions, why_not=why_not, asks_code=asks_code,
        my_items=_my_items(actor, found, may_change) if draft else [],
        may_request=may_change and theirs and (draft or bool(changes)),
        may_withdraw=may_change and found.state in (Gate.State.DRAFT, Gate.State.OPEN),
        may_waive=_may_waive(found, shown) if may_change else [],
        signs_waivers=actor.has_role(Role.APPROVER) and waiver_rules.SIGNER in actor.functions,
        standing_in=[d for d in standing_in if d.function in functions], signs_for_self=any(f in actor.functions for f in functions),
        comments=list(found.comments.all()), may_comment=talk_rules.may_comment(actor), shown=current or document, look=look,
        news_since=news_since, news=news,
    )  # fmt: skip


def _may_waive(found: Gate, shown: dict[str, Any]) -> list[tuple[str, str]]:
    """What does not pass, may be waived, and is not asked for yet; on an approved gate, what is waived now."""
    if found.state not in (Gate.State.DRAFT, Gate.State.OPEN, Gate.State.APPROVED):
        return []
    asked = {w.subject for w in found.waivers.all() if w.state == Waiver.State.ASKED}
    rows = [(waiver_rules.name_of(c), c["title"], c) for c in shown["checks"]] + [(i["item"], i["text"], i) for i in shown["attestations"]]
    approved = found.state == Gate.State.APPROVED
    return [
        (name, title) for name, title, row in rows
        if row.get("waivable", True) and name not in asked and (row.get("waiver") if approved else not waiver_rules.passes(row))
    ]  # fmt: skip


def _my_items(actor: Actor, found: Gate, may_change: bool) -> list[str]:
    is_owner = actor.user_id in {str(found.usecase.owner_id), str(found.usecase.sponsor_id)}
    mine = []
    for item in found.policy.body["attestations"]:
        try:
            rules.check_may_attest(actor, item["owner"], is_owner=is_owner, may_change=may_change)
        except DomainError:
            continue
        mine.append(item["item"])
    return mine


def _my_signature(
    actor: Actor, found: Gate, valid: list[Signature], changes: list[dict[str, str]], standing_in: list[Delegation], known: dict[str, User]
) -> tuple[list[str], str]:
    """(functions the reader may sign in now, or why not). The signing service checks all of it again."""
    if found.state != Gate.State.OPEN or actor.user_id is None:
        return [], ""
    quorum = found.policy.quorum
    taken = {d.function for d in standing_in}
    if not taken and not actor.has_role(Role.APPROVER):
        return [], ""
    held = [f for f in quorum if f in actor.functions or f in taken]
    if not held:
        return [], f"This gate asks for {', '.join(quorum)}; you sign for {', '.join(sorted(actor.functions))}."
    if any(str(s.signer_id) == actor.user_id for s in valid):
        return [], "You have signed this gate."
    me = known.get(actor.user_id) or User.objects.get(id=actor.user_id)
    voices = {f: {me.email} if f in actor.functions else set() for f in held}
    for row in standing_in:
        voices.get(row.function, set()).add(row.delegator.email)
    body = found.policy.body
    held = [f for f in held if any(policy_rules.in_pool(body, f, email) for email in voices[f])]
    if not held:
        return [], "The policy of this gate names the people who sign it, and you are not among them."
    version = found.model_version
    try:
        rules.check_four_eyes(
            user_id=me.id, requesters=(found.requested_by_id, found.opened_by_id), excluded=found.policy.four_eyes,
            author=rules.is_author_of(version, me),
        )  # fmt: skip
        rules.check_unchanged(changes)
    except DomainError as error:
        return [], error.detail
    wanted = rules.still_wanted(quorum, [s.function for s in valid if s.meaning == "approved"])
    free = [f for f in held if f in wanted]
    return free, "" if free else f"The signatures for {', '.join(held)} are complete."


def decision_list(actor: Actor, *, usecase_id: Any = None) -> QuerySet[Decision]:
    """Decisions of visible use cases, newest first, with their state."""
    visible = UseCase.objects.visible_to(actor)
    if usecase_id is not None:
        visible = visible.filter(id=usecase_id)
    return decisions.for_usecases(visible.values("id")).select_related("gate")


def decision(actor: Actor, decision_id: Any) -> Decision:
    """One decision of a visible use case, or NotFound."""
    return decision_list(actor).one("decision", id=decision_id)  # type: ignore[attr-defined]
