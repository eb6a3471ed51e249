"""Who may issue, end or suspend a decision, and when one is live. Pure."""

from datetime import datetime, timedelta
from typing import Any

from apps.core.actor import Actor, Role
from apps.core.errors import Invalid, NotAllowed

KINDS = ("stage", "deploy", "phase")
ENVIRONMENTS = ("", "pilot", "production")
MAX_VALID_DAYS = 1096


def check_may_issue(actor: Actor, *, standing_in: bool = False) -> None:
    """The signer whose signature met the quorum, or one of our own processes.

    standing_in: the signer is no approver and signed for one; approvals has checked the delegation.
    """
    if not (actor.is_system or actor.has_role(Role.APPROVER) or (standing_in and actor.user_id)):
        raise NotAllowed("A decision comes from a passed gate. Request the gate and have it signed.")


def check_may_end(actor: Actor) -> None:
    """Approvers, administrators and our own processes may revoke; so may whoever moves a use case back (through usecases)."""
    if not (actor.is_admin or actor.has_role(Role.APPROVER)):
        raise NotAllowed("Only an approver or an administrator may revoke a decision. Ask one.")


def check_decision(*, kind: str, environment: str, stage_to: str, artifact_digest: str, valid_days: int, phase_id: Any = None) -> None:
    """The fields of a decision fit together; raises Invalid naming the field."""
    if kind not in KINDS:
        raise Invalid(f"kind: {kind!r} is not one of {', '.join(KINDS)}.", errors={"kind": ["Unknown."]})
    if environment not in ENVIRONMENTS:
        raise Invalid(f"environment: {environment!r} is not pilot or production.", errors={"environment": ["Unknown."]})
    if kind == "stage" and not stage_to:
        raise Invalid("stage_to: a stage decision names the stage.", errors={"stage_to": ["Needed."]})
    if kind == "deploy" and (stage_to or not environment):
        raise Invalid("environment: a deploy decision names an environment and no stage.", errors={"environment": ["Needed."]})
    if kind == "phase" and (stage_to or environment or artifact_digest or not phase_id):
        raise Invalid("phase_id: a phase decision names a phase and nothing else.", errors={"phase_id": ["Needed."]})
    if kind != "phase" and phase_id:
        raise Invalid("phase_id: only a phase decision names a phase.", errors={"phase_id": ["Not here."]})
    if environment and not artifact_digest.startswith("sha256:"):
        raise Invalid("artifact_digest: running somewhere needs the artifact's digest.", errors={"artifact_digest": ["Needed."]})
    if not 1 <= valid_days <= MAX_VALID_DAYS:
        raise Invalid(f"valid_days: give 1 to {MAX_VALID_DAYS}.", errors={"valid_days": ["Out of range."]})


def check_reason(reason: str) -> str:
    """A reason in words, trimmed."""
    if not reason.strip():
        raise Invalid("reason: say why, for whoever reads the trail.", errors={"reason": ["Needed."]})
    return reason.strip()


def expiry(issued_at: datetime, valid_days: int) -> datetime:
    """When a decision ends by itself."""
    return issued_at + timedelta(days=valid_days)


def why_not_live(
    *, at: datetime, issued_at: datetime, expires_at: datetime, revoked_at: datetime | None, revoked_why: str, open_holds: list[str]
) -> str:
    """Empty when the decision holds at `at`; else one sentence that says why not and what to do."""
    if at < issued_at:
        return f"The decision was issued later, at {issued_at:%Y-%m-%d %H:%M} UTC."
    if revoked_at is not None and at >= revoked_at:
        return f"The decision was revoked at {revoked_at:%Y-%m-%d %H:%M} UTC: {revoked_why} Request a new gate."
    if at >= expires_at:
        return f"The decision expired at {expires_at:%Y-%m-%d %H:%M} UTC. Request a new gate."
    if open_holds:
        return f"The decision is on hold. {open_holds[0].rstrip('. ')}. Close what caused it, or request a new gate."
    return ""
