"""What the reconciler and a rollout do next, given the facts; what a request may ask. Pure: no database, no clock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from apps.core.actor import Actor, Role
from apps.core.errors import Invalid, NotAllowed

STARTING = frozenset({"downloading", "verifying", "starting"})
# An agent that works on a start says so at every phase; after this long without a word the start is taken as lost.
PROGRESS_TIMEOUT_S = 240.0
# A host that reports and has not said a word about an order by then is sent the same order once more.
SEND_AGAIN_AFTER_S = 15.0
# A heartbeat must be this much later than the report before its silence about an engine counts.
LISTING_GRACE_S = 3.0
MAX_ROLLOUT_FAILURES = 3
MAX_BACK_OFF_S = 60.0
REHEARSAL_TIMEOUT_S = 180.0
MOST_OVERLAP_HOURS = 720

Verdict = Literal["live", "held", "expired", "revoked", "none"]
# Words that follow /endpoints/ in the address of a page of its own.
RESERVED_SLUGS = ("new",)
# Refused messages of one source and reason that have an event of their own in a minute; the rest are counted in one more.
REFUSALS_TOLD_A_MINUTE = 10


def check_may_deploy(actor: Actor) -> None:
    """Engineers, administrators and our own processes change what runs."""
    if not (actor.is_admin or actor.has_role(Role.ML_ENGINEER)):
        raise NotAllowed("Only an ML engineer or an administrator may change what runs. Ask one of this use case.")
    if not actor.has_scope("write"):
        raise NotAllowed("This token may only read. Use one with the scope 'write'.")


def check_may_register_host(actor: Actor) -> None:
    """A host's key decides whose reports are believed, so only administrators register one."""
    if not actor.is_admin:
        raise NotAllowed("Only an administrator may register a serving host. Ask one.")


def check_may_rotate(actor: Actor) -> None:
    """Whoever holds the order key can start anything, so only administrators, and the command line, change it."""
    if not actor.is_admin:
        raise NotAllowed("Only an administrator may rotate the order key. Ask one.")


def check_overlap(hours: float) -> timedelta:
    """How long the old key is still accepted; raises Invalid naming the field."""
    if not 0 < hours <= MOST_OVERLAP_HOURS:
        raise Invalid(
            f"overlap: give hours above 0 and at most {MOST_OVERLAP_HOURS}. A key that is known to others is not handed over: pin a new one by hand.",
            errors={"overlap": [f"Above 0 and at most {MOST_OVERLAP_HOURS} hours."]},
        )
    return timedelta(hours=hours)


def check_steps(steps: Sequence[Any]) -> list[int]:
    """Whole percentages, each larger than the one before, the last 100."""
    good = bool(steps) and all(isinstance(s, int) and not isinstance(s, bool) and 1 <= s <= 100 for s in steps)
    if not good or list(steps) != sorted(set(steps)) or steps[-1] != 100 or len(steps) > 20:
        raise Invalid(
            "steps: give growing whole percentages that end with 100, such as [10, 100].", errors={"steps": ["Not growing to 100."]}
        )
    return list(steps)


def check_bake(bake_s: float) -> float:
    """How long each step is watched before the next, in seconds."""
    if not 0 <= bake_s <= 30 * 86400:
        raise Invalid("bake_s: give seconds from 0 to 2592000 (30 days).", errors={"bake_s": ["Out of range."]})
    return float(bake_s)


def engine_url(text: Any) -> str:
    """A reported engine address, `http(s)://host:port` and nothing more; empty when it is anything else."""
    if not isinstance(text, str) or len(text) > 300:
        return ""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or port is None or "@" in parts.netloc:
        return ""
    return text.rstrip("/") if parts.path in {"", "/"} and not parts.query and not parts.fragment else ""


# --- the reconciler -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """The start or stop order that is not settled. `expired`: never accepted in time. `stalled`: accepted, then silence."""

    kind: str
    expired: bool = False
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one deployment.

    listed: whether the host's latest heartbeat names a living engine of it; None when no heartbeat is later than the report.
    back_off_s: seconds until the next start may be tried.
    """

    desired: str
    observed: str
    verdict: Verdict
    verdict_detail: str = ""
    host_fresh: bool = True
    host_name: str = "the host"
    order: OpenOrder | None = None
    listed: bool | None = None
    back_off_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """What to do: nothing, wait (with the reason people see), order a start or a stop. `lost`: the engine is gone unreported."""

    kind: Literal["none", "wait", "start", "stop"]
    reason: str = ""
    lost: bool = False


def next_step(facts: Facts) -> Step:
    """Level-triggered: the same facts give the same answer, however often and in whatever order news arrived.

    Only a live decision starts anything. A held or expired decision keeps what runs; a revoked one stops it.
    """
    if facts.desired == "stopped" or facts.verdict == "revoked":
        return _toward_stopped(facts)
    return _toward_running(facts)


def _toward_stopped(facts: Facts) -> Step:
    order = facts.order
    if order and order.kind == "stop" and not (order.expired or order.stalled):
        return Step("wait", "The host has been told to stop it.")
    started_unseen = order is not None and order.kind == "start"
    alive = facts.observed in STARTING | {"ready", "lost"} or bool(facts.listed)
    unanswered_stop = order is not None and order.kind == "stop"
    if not (alive or started_unseen or unanswered_stop):
        return Step("none")
    if not facts.host_fresh:
        # It gets no traffic any more; the order would only pile up in a queue that nobody reads.
        return Step("wait", f"{facts.host_name} does not report. Start its agent.")
    reason = "Its decision was revoked." if facts.desired == "running" else "It is to stop."
    return Step("stop", reason)


def _toward_running(facts: Facts) -> Step:
    gone = facts.observed == "ready" and facts.listed is False
    if facts.observed == "ready" and not gone:
        return Step("none")
    order = facts.order
    if order and order.kind == "start" and not (order.expired or order.stalled):
        return Step("wait", "The host has the order to start it.", lost=gone)
    if facts.verdict != "live":
        return Step("wait", facts.verdict_detail or "No live decision allows it to start.", lost=gone)
    if not facts.host_fresh:
        return Step("wait", f"{facts.host_name} does not report. Start its agent.", lost=gone)
    if facts.back_off_s > 0:
        return Step("wait", "The last start failed; it is tried again soon.", lost=gone)
    return Step("start", "It is to run and does not.", lost=gone)


def back_off_s(failures: int) -> float:
    """Pause before the next start after so many failed ones in a row: 2, 4, 8 s and so on, a minute at most."""
    return 0.0 if failures <= 0 else min(MAX_BACK_OFF_S, 2.0 ** min(failures, 6))


def is_listed(
    running: Iterable[Mapping[str, Any]], deployment_id: str, *, heartbeat_at: datetime | None, observed_at: datetime | None
) -> bool | None:
    """Whether a heartbeat names a living engine of the deployment; None when the heartbeat is no news."""
    if heartbeat_at is None or (observed_at is not None and heartbeat_at < observed_at + timedelta(seconds=LISTING_GRACE_S)):
        return None
    for entry in running:
        if entry.get("deployment_id") == deployment_id:
            return entry.get("state") not in {"failed", "stopped"}
    return False


# --- rollouts ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RolloutFacts:
    """Where a rollout stands. `step` -1: no traffic moved yet. `allowed`: a live decision admits a shift now.

    step_started_at: since when the step is watched; None while gateways that report have not taken it up.
    """

    steps: Sequence[int]
    step: int
    bake_s: float
    step_started_at: datetime | None
    to_ready: bool
    to_failures: int
    to_wanted: bool
    from_ready: bool
    allowed: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class RolloutMove:
    """wait (`reason` names for what), step (to index `step`), fail (no traffic had moved), roll_back."""

    kind: Literal["wait", "step", "fail", "roll_back"]
    step: int = -1
    reason: str = ""
    due_at: datetime | None = None


def next_move(facts: RolloutFacts, now: datetime) -> RolloutMove:
    """One move of a rollout; completing it is part of its last step."""
    if not facts.to_wanted or facts.to_failures >= MAX_ROLLOUT_FAILURES:
        reason = "The new version was stopped." if not facts.to_wanted else f"The new version failed to start {facts.to_failures} times."
        return RolloutMove("roll_back" if facts.step >= 0 and facts.from_ready else "fail", reason=reason)
    if not facts.to_ready:
        return RolloutMove("wait", reason="the new version's engine")
    if facts.step >= 0:
        if facts.step_started_at is None:
            return RolloutMove("wait", reason=f"the gateways to take up step {facts.steps[facts.step]}%")
        due_at = facts.step_started_at + timedelta(seconds=facts.bake_s)
        if now < due_at:
            return RolloutMove("wait", reason=f"the end of the watch over step {facts.steps[facts.step]}%", due_at=due_at)
    if not facts.allowed:
        return RolloutMove("wait", reason=f"a live decision. {facts.why_not}".strip())
    return RolloutMove("step", step=facts.step + 1)


def check_endpoint(*, environment: str, rate_limit_rps: float, burst: int | None) -> None:
    """The settings of an endpoint; raises Invalid naming the field."""
    if environment not in {"pilot", "production"}:
        raise Invalid("environment: pilot or production.", errors={"environment": ["Unknown."]})
    if not 0 < rate_limit_rps <= 100_000:
        raise Invalid("rate_limit_rps: give requests per second above 0, at most 100000.", errors={"rate_limit_rps": ["Out of range."]})
    if burst is not None and not 1 <= burst <= 1_000_000:
        raise Invalid("burst: give a whole number from 1 to 1000000.", errors={"burst": ["Out of range."]})


def refuse_strategy(strategy: str) -> None:
    """Raise Invalid for a strategy nobody knows."""
    raise Invalid(f"strategy: {strategy!r} is not all_at_once or canary.", errors={"strategy": ["Unknown."]})


def check_group(department: str, team: str) -> tuple[str, str]:
    """Department and team of a caller, trimmed; raises Invalid naming the field."""
    clean = {"department": " ".join(department.split()), "team": " ".join(team.split())}
    for name, value in clean.items():
        if len(value) > 100 or (value and not value.isprintable()):
            raise Invalid(f"{name}: give a name of at most 100 characters.", errors={name: ["At most 100 characters."]})
    return clean["department"], clean["team"]


def groups(key: Any) -> list[str]:
    """Department and team of a caller's key, as far as they are known."""
    return [name for name in (key.department, key.team) if name]


def check_reason(reason: str) -> str:
    """A reason in words, trimmed."""
    if not reason.strip():
        raise Invalid("reason: say why, for whoever reads the trail.", errors={"reason": ["Needed."]})
    return reason.strip()


def check_stop(*, weight: int, reason: str) -> None:
    """Taking an answering version away needs a reason."""
    if weight > 0:
        check_reason(reason)
