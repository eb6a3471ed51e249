"""Publish gate policies."""

from django.db import transaction

from apps.approvals import checks, policy_rules
from apps.approvals.models import PolicyVersion
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, NotAllowed


@transaction.atomic
def publish_policy(*, actor: Actor, text: str) -> tuple[PolicyVersion, bool]:
    """Publish a policy version from YAML; returns (row, whether it is new). The same text again changes nothing.

    Raises Invalid naming line or field, Conflict when this version is published with other content.
    """
    if not actor.is_admin:
        raise NotAllowed("Only an administrator may publish a policy. Ask one.")
    body = policy_rules.read(text, checks.all_checks())
    digest = policy_rules.digest(body)
    there = PolicyVersion.objects.filter(name=body["name"]).order_by("-version").first()
    same = PolicyVersion.objects.filter(name=body["name"], version=body["version"]).first()
    if same is not None:
        if same.digest != digest:
            raise Conflict(
                f"version: {same} is published with other content and never changes. Raise `version`.", errors={"version": ["Taken."]}
            )
        return same, False
    if there is not None and body["version"] < there.version:
        raise Conflict(f"version: {there.name} is at {there.version} already. Raise `version`.", errors={"version": ["Too low."]})
    policy = PolicyVersion.objects.create(
        name=body["name"], version=body["version"], tier=body["tier"], gate=body["gate"], body=body, digest=digest, published_at=now()
    )
    audit.record(
        "approvals.policy.published", actor=actor, obj_type="policyversion", obj_id=str(policy.id), obj_label=str(policy),
        after={"gate": policy.gate, "tier": policy.tier, "digest": digest, "quorum": body["quorum"]},
    )  # fmt: skip
    return policy, True
