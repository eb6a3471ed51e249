"""What happened to a version, and who may do what with it: composed across apps, as far as the reader may see."""

from dataclasses import dataclass, field
from datetime import datetime

from django.urls import reverse

from apps.accounts import selectors as accounts
from apps.accounts.models import User
from apps.approvals.models import Gate
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import DomainError
from apps.decisions import selectors as decisions
from apps.deployments.models import Deployment
from apps.registry import selectors as registry
from apps.registry.models import ModelVersion
from apps.registry.rules import access
from apps.registry.rules.access import Standing
from apps.registry.selectors import cards, evaluations, scans
from apps.registry.selectors.access import standing_to_model
from apps.usecases.models import UseCase

MOST_PEOPLE = 40
VERBS = ("read", "log", "register", "edit", "delete")


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened: when, of which kind, what in words, by whom, and where to look."""

    at: datetime
    kind: str
    what: str
    who: str = ""
    href: str = ""


def timeline(actor: Actor, version: ModelVersion) -> list[Moment]:
    """Everything the portal knows to have happened to a version, newest first; gates, decisions and deployments of use cases in sight."""
    name, number = version.model.name, version.version
    out = [Moment(version.registered_at or version.created_at, "registered", "Registered", version.author)]
    out += [
        Moment(r.saved_at, "card", f"Card saved as revision {r.revision}" if r.revision else "Card filled in from the run", r.saved_by,
               f"{reverse('registry:card', args=[name, number])}?revision={r.revision}")
        for r in cards.revisions(version)
    ]  # fmt: skip
    out += [
        Moment(s.scanned_at, "scan", f"Files scanned: {s.verdict}", s.tool, reverse("registry:scan", args=[name, number]))
        for s in scans.of_version(version)
    ]
    out += [
        Moment(e.attached_at, "evaluation", f"{'Bias audit' if e.kind == 'bias_audit' else 'Evaluation'} “{e.name}” attached", e.attached_by,
               reverse("registry:evaluations", args=[name, number]))
        for e in evaluations.of_version(version)
    ]  # fmt: skip
    out += _aliases(version) + _findings(actor, version)
    return sorted(
        out + _gates(actor, version) + _decisions(actor, version) + _deployments(actor, version), key=lambda m: m.at, reverse=True
    )


def _aliases(version: ModelVersion) -> list[Moment]:
    out = []
    for record in version.alias_records.all():
        out.append(Moment(record.set_at, "alias", f"@{record.alias} points here", record.set_by))
        if record.ended_at:
            out.append(Moment(record.ended_at, "alias", f"@{record.alias} points here no more"))
    return out


def _findings(actor: Actor, version: ModelVersion) -> list[Moment]:
    rows = registry.findings(actor).filter(version=version)[:100]
    out = [Moment(f.created_at, "finding", f"Found: {f.detail}", f.actor_label) for f in rows]
    return out + [Moment(f.closed_at, "finding", f"Settled: {f.closed_because or f.detail}") for f in rows if f.closed_at]


def _gates(actor: Actor, version: ModelVersion) -> list[Moment]:
    out = []
    for gate in Gate.objects.visible_to(actor).filter(model_version=version).select_related("usecase", "opened_by", "requested_by"):
        href, what = reverse("approvals:gate", args=[gate.id]), f"Gate {gate} of {gate.usecase.name}"
        out.append(Moment(gate.created_at, "gate", f"{what} begun", str(gate.opened_by), href))
        if gate.requested_at:
            out.append(Moment(gate.requested_at, "gate", f"{what} requested", str(gate.requested_by or ""), href))
        if gate.decided_at:
            out.append(Moment(gate.decided_at, "gate", f"{what} {gate.state}", "", href))
    return out


def _decisions(actor: Actor, version: ModelVersion) -> list[Moment]:
    if not version.artifact_digest:
        return []
    seen = UseCase.objects.visible_to(actor).values("id")
    out = []
    for each in decisions.for_usecases(seen).filter(artifact_digest=version.artifact_digest)[:100]:
        href, where = reverse("approvals:gate", args=[each.gate_id]), each.environment or each.stage_to
        out.append(Moment(each.issued_at, "decision", f"Decision: it may run in {where}", "", href))
        if revocation := getattr(each, "revocation", None):
            out.append(
                Moment(revocation.revoked_at, "decision", f"Decision for {where} revoked: {revocation.reason}", revocation.revoked_by, href)
            )
        for hold in each.holds.all():
            out.append(Moment(hold.placed_at, "decision", f"Decision for {where} put on hold: {hold.reason}", hold.placed_by, href))
            if hold.lifted_at:
                out.append(Moment(hold.lifted_at, "decision", f"Hold lifted: {hold.lift_reason}", hold.lifted_by, href))
    return out


def _deployments(actor: Actor, version: ModelVersion) -> list[Moment]:
    out = []
    rows = Deployment.objects.visible_to(actor).filter(model_version=version).select_related("endpoint").order_by("-id")[:100]
    for each in rows:
        href = reverse("deployments:endpoint", args=[each.endpoint.slug])
        out.append(Moment(each.created_at, "deployment", f"Deployed to {each.endpoint.name} as {each.role}", each.requested_by, href))
        if each.ready_at:
            out.append(Moment(each.ready_at, "deployment", f"Ready on {each.endpoint.name}", "", href))
        if each.desired == "stopped" and each.stop_at and each.stop_at <= now():
            out.append(Moment(each.stop_at, "deployment", f"Stopped on {each.endpoint.name}", "", href))
    return out


@dataclass(slots=True)
class Rights:
    """What one person may do with a model: verb -> whether; and why, in words."""

    person: User
    may: dict[str, bool] = field(default_factory=dict)
    why: str = ""

    @property
    def cells(self) -> list[bool]:
        """In the order of VERBS."""
        return [self.may[verb] for verb in VERBS]


def who_may(actor: Actor, version: ModelVersion) -> tuple[list[Rights], bool]:
    """(people who may at least read the model, with what they may and why; whether more people than were looked at have accounts).

    At most 40 people are looked at, by name: the answer is asked of the same rule that every door asks.
    """
    people = list(accounts.users(actor)[: MOST_PEOPLE + 1])
    out = []
    for person in people[:MOST_PEOPLE]:
        theirs = accounts.actor_from_user(person)
        standing = standing_to_model(theirs, version.model.name)
        may = {verb: _may(theirs, verb, standing, version.model.name) for verb in VERBS}
        if may["read"]:
            out.append(Rights(person, may, _why(theirs, standing)))
    return sorted(out, key=lambda r: -sum(r.cells)), len(people) > MOST_PEOPLE


def _may(actor: Actor, verb: str, standing: Standing, name: str) -> bool:
    try:
        access.check_right(actor, verb, standing, f"model {name}")
    except DomainError:
        return False
    return True


def _why(actor: Actor, standing: Standing) -> str:
    if actor.is_admin:
        return "administrator"
    reasons = [
        words
        for holds, words in (
            (standing.owns, "owns the model"),
            (standing.changes_usecase, "may change a use case that uses it"),
            (standing.granted_change, "was granted the right to change it"),
            (standing.granted_delete, "was granted the right to delete it"),
            (standing.unclaimed, "no use case uses it and nobody owns it"),
        )
        if holds
    ]
    roles = ", ".join(sorted(r.replace("_", " ") for r in actor.roles)) or "no role"
    return "; ".join([roles, *reasons])
