"""Who may request, attest and sign; what is frozen; what changed since; when a quorum is met. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from apps.core.actor import Actor, Function, Role
from apps.core.canonical import digest_of
from apps.core.errors import Conflict, FourEyesRequired, Invalid, NotAllowed, StaleEvidence

# Days before an approval ends on which people are told.
EXPIRY_DAYS = (30, 7)
ANSWERS = ("yes", "no", "not_applicable")
MEANINGS = ("approved", "rejected", "abstain", "stopped", "rebuild")
# Outcomes that the business alone decides: they end the use case, or begin it anew.
REBUILT_BEFORE = ("pilot", "production")
OF_BUSINESS = ("stopped", "rebuild")
WORDS_FOR = {
    "rejected": "say why, and what would change your decision.",
    "abstain": "say why you neither approve nor refuse.",
    "stopped": "write down what we learned; it is what a stopped use case leaves.",
    "rebuild": "say why the idea is proven and why this architecture cannot go on.",
}
CONTENT_LEFT_OUT = ("frozen_at", "requested_at")
COMPARED = ("state", "found", "figure", "source_digest", "waiver")


@dataclass(frozen=True, slots=True)
class GateShape:
    """What a request to move comes to."""

    kind: str  # "stage", "version" or "phase"
    policy_gate: str
    environment: str
    needs_model: bool


def shape(stage: str, to_stage: str, gate_of_move: Mapping[tuple[str, str], str], environment_of_stage: Mapping[str, str]) -> GateShape:
    """A gate from `stage` towards `to_stage`: the next stage, or a model version into an environment it already has."""
    environment = environment_of_stage.get(to_stage, "")
    if (stage, to_stage) in gate_of_move:
        return GateShape("stage", gate_of_move[(stage, to_stage)], environment, bool(environment))
    has = {"pilot": ("pilot",), "production": ("pilot", "production")}.get(stage, ())
    if environment and to_stage in has:
        return GateShape("version", "version", environment, True)
    ways = [to for frm, to in gate_of_move if frm == stage] + list(has)
    possible = ", ".join(ways) or "none"
    raise Conflict(f"to_stage: from {stage} no gate leads to {to_stage}. Possible: {possible}.", errors={"to_stage": ["Not from here."]})


PHASE_SHAPE = GateShape("phase", "phase", "production", False)


def check_may_publish(actor: Actor) -> None:
    """Policy owners, signing; and the portal's own installation, for what ships."""
    if not (actor.is_system or actor.has_role(Role.POLICY_OWNER)):
        raise NotAllowed("Only a policy owner may publish a policy. An administrator gives the role, under People.")
    if actor.user_id is None and not actor.is_system:
        raise NotAllowed("A policy is published by a person. Sign in, or use a person's token.")


def check_not_own_gate(actor: Actor, gates: Sequence[str]) -> None:
    """Who asks for something does not change what it takes."""
    if gates:
        raise FourEyesRequired(
            f"You began or requested a gate that this policy is about ({gates[0]}). Ask another policy owner, or wait until it is decided."
        )


def check_may_open(actor: Actor, may_change: bool) -> str:
    """Whoever may change the use case, as a named person; returns their user id."""
    if actor.user_id is None:
        raise NotAllowed("A gate is requested by a person. Sign in, or use a person's token.")
    if not may_change:
        raise NotAllowed("You may read this use case but not request its gates. Ask its owner for change access.")
    return actor.user_id


def check_is_theirs(actor: Actor, people: Iterable[Any]) -> None:
    """Only who began or requested the gate goes on with it, so that four-eyes knows whom to exclude."""
    if actor.user_id not in {str(p) for p in people if p}:
        raise NotAllowed("Only the person who began this gate may do this. Withdraw it and begin your own.")


def check_may_attest(actor: Actor, owner: str, *, is_owner: bool, may_change: bool) -> str:
    """The item's owner role decides who answers it; returns the person's user id."""
    allowed = {
        "owner": is_owner,
        "engineer": actor.has_role(Role.ML_ENGINEER) and may_change,
    }.get(owner, owner in actor.functions)
    if not allowed or actor.user_id is None:
        who = {"owner": "the use case's owner or sponsor", "engineer": "an ML engineer who may change the use case"}
        raise NotAllowed(f"This item is answered by {who.get(owner, f'an approver for {owner}')}. Ask them.")
    return actor.user_id


def check_answer(answer: str, note: str) -> str:
    """A known answer, with words."""
    if answer not in ANSWERS:
        raise Invalid(f"answer: choose one of {', '.join(ANSWERS)}.", errors={"answer": ["Unknown."]})
    if not note.strip():
        raise Invalid("note: say in a sentence what you know, for whoever signs.", errors={"note": ["Needed."]})
    return note.strip()


def check_state(state: str, *allowed: str) -> None:
    """The gate is in a state that admits this."""
    if state not in allowed:
        words = {
            "draft": "has not been requested yet", "open": "is open", "approved": "is approved already", "rejected": "was refused",
            "withdrawn": "was taken back", "stopped": "ended with the use case stopped", "rebuilt": "ended with a successor",
            "lapsed": "lapsed, because signatures were late",
        }  # fmt: skip
        raise Conflict(f"This gate {words.get(state, state)}; that does not allow this. Reload the page.", gate_state=state)


def is_author(*, author_user_id: Any, author_label: str, user_id: Any, email: str, full_name: str) -> bool:
    """Whether a model version was made by this person, by account or by the label the registry kept."""
    if author_user_id is not None and str(author_user_id) == str(user_id):
        return True
    label = author_label.strip().casefold()
    names = {n.strip().casefold() for n in (email, full_name) if n.strip()}
    return label in names or any(label.startswith(f"{name} (") for name in names)


def is_author_of(version: Any, person: Any) -> bool:
    """Whether this person made the gate's model version (None: there is none)."""
    return version is not None and is_author(
        author_user_id=version.author_user_id, author_label=version.author,
        user_id=person.id, email=person.email, full_name=person.full_name,
    )  # fmt: skip


def check_words(text: str, field: str, remedy: str) -> str:
    """Words, trimmed; raises Invalid naming the field."""
    if not text.strip():
        raise Invalid(f"{field}: {remedy}", errors={field: [f"{remedy[:1].upper()}{remedy[1:]}"]})
    return text.strip()


def check_four_eyes(*, user_id: Any, requesters: Iterable[Any], author: bool, excluded: Mapping[str, bool] = MappingProxyType({})) -> None:
    """Neither who asks nor who made the model signs, unless the policy lets them (`excluded`: requester, authors)."""
    if excluded.get("requester", True) and str(user_id) in {str(r) for r in requesters if r}:
        raise FourEyesRequired("You requested this gate, so somebody else has to sign it. Ask another approver.")
    if excluded.get("authors", True) and author:
        raise FourEyesRequired("You made this model version, so somebody else has to sign it. Ask another approver.")


def check_four_eyes_for(
    *, name: str, user_id: Any, requesters: Iterable[Any], author: bool, excluded: Mapping[str, bool] = MappingProxyType({})
) -> None:
    """The same of an absent approver: what they may not sign, nobody signs for them."""
    try:
        check_four_eyes(user_id=user_id, requesters=requesters, author=author, excluded=excluded)
    except FourEyesRequired as error:
        raise FourEyesRequired(
            f"{name} requested this gate or made the model version, so nobody signs it for them. Ask another approver."
        ) from error


def check_password_given(password: str) -> None:
    """A signature takes the password in the same call; an empty one is not counted as a wrong one."""
    if not password:
        raise Invalid("password: give your password; it is what makes this a signature.", errors={"password": ["Needed to sign."]})


def check_signature(
    *,
    function: str,
    meaning: str,
    comment: str,
    quorum: Mapping[str, int],
    approvals: Sequence[str],
    signed_before: bool,
    evidence_digest: str,
    frozen_digest: str,
    would_change: str = "",
    to_stage: str = "",
) -> None:
    """The signature fits the gate as it stands; `approvals` are the functions of the approving signatures so far."""
    if meaning not in MEANINGS:
        raise Invalid(f"meaning: choose one of {', '.join(MEANINGS)}.", errors={"meaning": ["Unknown."]})
    if meaning in WORDS_FOR and not comment.strip():
        raise Invalid(f"comment: {WORDS_FOR[meaning]}", errors={"comment": ["Needed for this answer."]})
    if meaning == "rejected" and not would_change.strip():
        raise Invalid(
            "would_change: say what would change your decision, so that people know what to bring.",
            errors={"would_change": ["Needed to refuse."]},
        )
    if meaning in OF_BUSINESS and function != Function.BUSINESS:
        raise Invalid(f"meaning: only business decides {meaning}. Refuse, or abstain.", errors={"meaning": ["Only for business."]})
    if meaning == "rebuild" and to_stage not in REBUILT_BEFORE:
        raise Invalid(
            "meaning: a use case is rebuilt when it shall go to pilot or production. Here, refuse or stop it.",
            errors={"meaning": ["Not at this gate."]},
        )
    if function not in quorum:
        raise Invalid(f"function: this gate asks for {', '.join(quorum)}.", errors={"function": ["Not asked for."]})
    if signed_before:
        raise Conflict("You have signed this gate already: one person, one signature.")
    if meaning == "approved" and approvals.count(function) >= quorum[function]:
        raise Conflict(f"The signatures for {function} are complete. No more are needed.")
    if evidence_digest != frozen_digest:
        raise StaleEvidence(
            "evidence_digest: this is not the digest of the evidence as it is frozen now. Read the gate again, then sign.",
            errors={"evidence_digest": ["Not the frozen one."]},
        )


def check_in_pool(function: str, named: bool, who: str = "You are") -> None:
    """The policy names no people for the function, or this person among them."""
    if not named:
        raise NotAllowed(f"The policy names who signs for {function}, and {who} not among them. Ask one of them.")


def check_tier_stands(*, policy_tier: str, tier: str, same_policy: bool) -> None:
    """The gate's policy is the one that the use case's tier picked when it began, or a stricter one; else the tier has risen since."""
    order = ("any", "minimal", "limited", "high")
    if not same_policy and order.index(policy_tier) <= order.index(tier):
        raise Conflict(
            f"The risk tier is {tier} now, and this gate began under a policy for {'another' if policy_tier == 'any' else policy_tier}. "
            "Withdraw it and begin a new one, which follows the policy of the new tier."
        )


def still_wanted(quorum: Mapping[str, int], approvals: Iterable[str]) -> dict[str, int]:
    """Function -> signatures still wanted; empty when the quorum is met."""
    given = list(approvals)
    return {f: n - given.count(f) for f, n in quorum.items() if n > given.count(f)}


def expiry_mark(left: timedelta) -> int | None:
    """Which notice is due when so much time is left: the smallest of EXPIRY_DAYS that is reached; None before the first."""
    return next((days for days in sorted(EXPIRY_DAYS) if left <= timedelta(days=days)), None)


def due(requested_at: datetime, due_days: int) -> datetime:
    """Until when signatures are expected."""
    return requested_at + timedelta(days=due_days)


def failing(document: Mapping[str, Any]) -> dict[str, str]:
    """Check or item -> what is missing for the gate to be requested; empty when all is there or waived."""
    open_checks = [c for c in document["checks"] if c["state"] != "pass" and not c.get("waiver")]
    out = {c.get("subject") or c["check"]: f"{c['title']}: {c['detail'] or c['state']}" for c in open_checks}
    for item in document["attestations"]:
        if item["answer"] not in ("yes", "not_applicable") and not item.get("waiver"):
            said = "answered no" if item["answer"] == "no" else f"not answered yet (by {item['owner']})"
            out[item["item"]] = f"{item['text']}: {said}"
    return out


def check_complete(document: Mapping[str, Any]) -> None:
    """Every check passes and every item is answered; else Conflict naming each that does not."""
    if gaps := failing(document):
        first = next(iter(gaps.values()))
        raise Conflict(
            f"The evidence is not complete: {first} {len(gaps)} open in all.",
            code="evidence-incomplete",
            errors={k: [v] for k, v in gaps.items()},
        )


def content_digest(document: Mapping[str, Any]) -> str:
    """Digest of what the document says, whenever it was frozen."""
    return digest_of({k: v for k, v in document.items() if k not in CONTENT_LEFT_OUT})


def changes(frozen: Mapping[str, Any], live: Mapping[str, Any]) -> list[dict[str, str]]:
    """What changed since freezing: [{what, before, after}], in words; empty when nothing did."""
    out: list[dict[str, str]] = []
    for name, words in (("usecase", "Use case"), ("model_version", "Model version"), ("phase", "Phase"), ("policy", "Policy")):
        was, now = frozen.get(name) or {}, live.get(name) or {}
        out += [
            {"what": f"{words}: {key.replace('_', ' ')}", "before": _say(was.get(key)), "after": _say(now.get(key))}
            for key in sorted({*was, *now})
            if was.get(key) != now.get(key)
        ]
    now_by = {_key(c): c for c in live["checks"]}
    for was in frozen["checks"]:
        now = now_by.get(_key(was))
        if now is None or any(was.get(k) != now.get(k) for k in COMPARED):
            after = _result(now) if now else "no longer asked"
            before = _result(was)
            out.append({"what": was["title"], "before": before, "after": after if after != before else f"{after} (its source changed)"})
    for was, now in _pairs(frozen["attestations"], live["attestations"]):
        if any(was.get(k) != now.get(k) for k in ("answer", "note", "waiver", "attachments")):
            out.append({"what": was.get("text", ""), "before": _said(was), "after": _said(now)})
    return out


def _key(check: Mapping[str, Any]) -> str:
    return check["check"] + digest_of(check["with"])


def _pairs(was: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    by_item = {i["item"]: i for i in now}
    return [(item, by_item.get(item["item"], {})) for item in was]


def _say(value: Any) -> str:
    return "nothing" if value in (None, "") else str(value)


def _result(check: Mapping[str, Any]) -> str:
    said = f"{check['state']}: {check['found']}" if check["found"] else str(check["state"])
    return said + _waived(check)


def _waived(row: Mapping[str, Any]) -> str:
    waiver = row.get("waiver")
    return f", waived by {waiver['by']} until {waiver['until'][:10]}" if waiver else ""


def _said(item: Mapping[str, Any]) -> str:
    files = ", ".join(f["name"] for f in item.get("attachments", []))
    said = f"{item.get('answer') or 'not answered'}: {item.get('note') or ''}".rstrip(": ")
    return said + (f", with {files}" if files else "") + _waived(item)


def check_unchanged(found: Sequence[Mapping[str, str]]) -> None:
    """Nothing changed since freezing; else StaleEvidence saying what."""
    if found:
        first = found[0]
        raise StaleEvidence(
            f"{first['what']} changed since the evidence was frozen: it was {first['before']}, it is {first['after']}. "
            "The requester has to request the gate again, which freezes it anew.",
            changes=list(found),
        )
