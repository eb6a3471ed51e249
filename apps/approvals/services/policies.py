"""Publish gate policies: a signed act."""

from typing import Any

from django.db import IntegrityError, transaction
from django.views.decorators.debug import sensitive_variables

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.approvals import checks, policy_rules, rules, selectors
from apps.approvals.models import PolicyVersion
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid


def check_policy(*, text: str, staffed: bool = True) -> dict[str, Any]:
    """The body that this text would publish; raises Invalid naming field and line. Changes nothing.

    staffed: also ask that there are people enough who may sign.
    """
    body = policy_rules.read(text, checks.all_checks())
    if staffed:
        policy_rules.check_staffed(text, body, selectors.signers_by_function())
    return body


def _read_today(there: PolicyVersion) -> dict[str, Any]:
    """What its text says to this release: a check may have got a parameter since, with a default that asks for nothing new."""
    try:
        return policy_rules.read(there.text, checks.all_checks()) if there.text else there.body
    except Invalid:
        return there.body


@transaction.atomic
def ship_policy(*, actor: Actor, text: str) -> tuple[PolicyVersion, str]:
    """Publish a policy that ships with the portal; returns (the row in force, what was done in words).

    What was published before never changes: a text that asks for something else is the next version, whatever number it names, and a
    policy that an owner signed for the gate stays in force (that row is returned). Raises Invalid, Conflict, NotAllowed.
    """
    body = check_policy(text=text, staffed=False)
    if own := selectors.published_by_person(body["gate"], body["tier"]):
        return own, f"{body['name']} {body['version']}: left out, {own} was published here by {own.printed_name}"
    there = PolicyVersion.objects.filter(name=body["name"]).order_by("-version").first()
    if there is not None and policy_rules.same_but_version(_read_today(there), body):
        return there, f"{there}: there already"
    if there is not None and body["version"] <= there.version:
        text = policy_rules.with_version(text, there.version + 1)
    made, _ = publish_policy(actor=actor, text=text)
    return made, f"{made}: published" + (f", after {there.version}" if there else "")


@sensitive_variables("password", "code")
@transaction.atomic
def publish_policy(*, actor: Actor, text: str, password: str = "", code: str = "", note: str = "") -> tuple[PolicyVersion, bool]:
    """Publish a policy version from YAML, signed with the policy owner's password (and a code); returns (row, whether it is new).

    The same content again changes nothing. Gates under way keep the version they began under. The portal's own installation
    publishes what ships without a password, and the trail says so.

    Raises CredentialsRefused (the door then records the failure), Invalid naming field and line, Conflict when this version is
    published with other content, NotAllowed without the role, FourEyesRequired for whoever requested an open gate it affects.
    """
    rules.check_may_publish(actor)
    owner, method = User.objects.get(id=actor.user_id) if actor.user_id else None, "installation"
    if owner is not None:
        rules.check_password_given(password)
        method = accounts.verify_again(user=owner, password=password, code=code)
    body = check_policy(text=text, staffed=False)
    digest = policy_rules.digest(body)
    there = PolicyVersion.objects.filter(name=body["name"]).order_by("-version").first()
    same = PolicyVersion.objects.filter(name=body["name"], version=body["version"]).first()
    if same is not None:
        if same.digest != digest and not policy_rules.same_but_version(_read_today(same), body):
            raise Conflict(
                f"version: {same} is published with other content and never changes. Raise `version`.", errors={"version": ["Taken."]}
            )
        return same, False
    if there is not None and body["version"] < there.version:
        raise Conflict(f"version: {there.name} is at {there.version} already. Raise `version`.", errors={"version": ["Too low."]})
    if owner is not None:
        # At installation there are no people yet; the list of policies says where some are still wanted.
        policy_rules.check_staffed(text, body, selectors.signers_by_function())
    affected = selectors.gates_under(body["gate"], body["tier"])
    if owner is not None:
        rules.check_not_own_gate(actor, [str(g) for g in affected.requested_by(owner.id).select_related("usecase")])
    try:
        with transaction.atomic():
            policy = PolicyVersion.objects.create(
                name=body["name"], version=body["version"], tier=body["tier"], gate=body["gate"], body=body, digest=digest,
                published_at=now(), text=text, note=note.strip(), published_by=owner, printed_name=owner.get_full_name() if owner else "",
                method=method,
            )  # fmt: skip
    except IntegrityError as error:
        raise Conflict("version: somebody published it just now. Read it, and raise `version`.", errors={"version": ["Taken."]}) from error
    audit.record(
        "approvals.policy.published", actor=actor, obj_type="policyversion", obj_id=str(policy.id), obj_label=str(policy),
        reason=policy.note,
        before={"replaces": str(there)} if there else None,
        after={
            "gate": policy.gate, "tier": policy.tier, "digest": digest, "quorum": body["quorum"], "pools": body.get("pools", {}), "method": policy.method,
            "printed_name": policy.printed_name, "open_gates": affected.count(),
        },
    )  # fmt: skip
    return policy, True
