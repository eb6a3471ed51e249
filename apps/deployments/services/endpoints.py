"""Endpoints and their callers' keys."""

from typing import Any

from django.db import IntegrityError, transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid
from apps.core.ids import new_secret, slugify
from apps.deployments import rules, selectors
from apps.deployments.models import Endpoint, EndpointKey
from apps.outbox import services as outbox
from apps.usecases import selectors as usecases


@transaction.atomic
def create_endpoint(
    *,
    actor: Actor,
    usecase_id: Any,
    environment: str,
    name: str = "",
    slug: str = "",
    rate_limit_rps: float = 100.0,
    burst: int | None = None,
) -> Endpoint:
    """Give a use case a public model name in one environment. It answers once a deployment is ready.

    rate_limit_rps is requests per second, burst how many may come at once (default: twice the rate).
    Raises Invalid naming the field, NotAllowed, NotFound, Conflict when the slug is taken.
    """
    rules.check_may_deploy(actor)
    usecase = usecases.usecase(actor, usecase_id)
    selectors.check_may_change(actor, usecase.id)
    rules.check_endpoint(environment=environment, rate_limit_rps=rate_limit_rps, burst=burst)
    name = name.strip() or f"{usecase.name} ({environment})"
    slug = slugify(slug or f"{usecase.slug}-{environment}", limit=80)
    if slug in rules.RESERVED_SLUGS:
        raise Invalid(f"slug: {slug} is the address of a page. Choose another.", errors={"slug": ["The address of a page."]})
    burst = burst if burst is not None else max(1, round(2 * rate_limit_rps))
    try:
        with transaction.atomic():
            endpoint = Endpoint.objects.create(
                usecase=usecase, slug=slug, name=name, environment=environment, rate_limit_rps=rate_limit_rps, burst=burst
            )
    except IntegrityError as error:
        raise Conflict(f"slug: {slug} is taken. Choose another.", errors={"slug": ["Taken."]}) from error
    audit.record(
        "deployments.endpoint.created", actor=actor, obj_type="endpoint", obj_id=str(endpoint.id), obj_label=name,
        usecase_id=str(usecase.id), after={"slug": slug, "environment": environment, "rate_limit_rps": rate_limit_rps, "burst": burst},
    )  # fmt: skip
    outbox.put("deployments.publish_routing", {})
    return endpoint


@transaction.atomic
def issue_key(*, actor: Actor, endpoint_id: Any, name: str, department: str = "", team: str = "") -> tuple[EndpointKey, str]:
    """A caller's key; returns (row, secret). The secret is shown this once and works when the gateways have the next snapshot.

    department, team: whom the caller calls for, by which rollout phases go.
    """
    rules.check_may_deploy(actor)
    endpoint = selectors.changeable_endpoint(actor, endpoint_id)
    if not name.strip():
        raise Invalid("name: say which caller the key is for.", errors={"name": ["Needed."]})
    department, team = rules.check_group(department, team)
    whole, prefix, digest = new_secret("ghe")
    key = EndpointKey.objects.create(
        endpoint=endpoint, name=name.strip()[:100], prefix=prefix, key_hash=digest, department=department, team=team
    )
    audit.record(
        "deployments.key.issued", actor=actor, obj_type="endpointkey", obj_id=str(key.id), obj_label=key.name,
        usecase_id=str(endpoint.usecase_id), after={"endpoint": endpoint.slug, "prefix": prefix, "department": department, "team": team},
    )  # fmt: skip
    outbox.put("deployments.publish_routing", {})
    return key, whole


@transaction.atomic
def assign_key(*, actor: Actor, key_id: Any, department: str = "", team: str = "") -> EndpointKey:
    """Say for which department and team a caller calls; empty takes it away. Rollout phases go by it. The same again changes nothing.

    Raises Conflict for a revoked key, Invalid naming the field.
    """
    rules.check_may_deploy(actor)
    key = _changeable_key(actor, key_id)
    department, team = rules.check_group(department, team)
    if key.revoked_at is not None:
        raise Conflict("This key is revoked, so it calls for nobody. Issue another one.")
    before = {"department": key.department, "team": key.team}
    after = {"department": department, "team": team}
    if before == after:
        return key
    key.department, key.team = department, team
    key.save(update_fields=["department", "team"])
    audit.record(
        "deployments.key.assigned", actor=actor, obj_type="endpointkey", obj_id=str(key.id), obj_label=key.name,
        usecase_id=str(key.endpoint.usecase_id), before=before, after={"endpoint": key.endpoint.slug, **after},
    )  # fmt: skip
    outbox.put("deployments.publish_routing", {})
    return key


def _changeable_key(actor: Actor, key_id: Any) -> EndpointKey:
    """The key, of an endpoint that the actor may change (else NotFound), locked."""
    rows = EndpointKey.objects.changeable_by(actor).select_for_update(no_key=True, of=("self",)).select_related("endpoint")
    return rows.one("endpoint key", id=key_id)  # type: ignore[no-any-return]


@transaction.atomic
def revoke_key(*, actor: Actor, key_id: Any) -> EndpointKey:
    """Make a caller's key useless as soon as the gateways have the next snapshot. Repeating it changes nothing."""
    rules.check_may_deploy(actor)
    key = _changeable_key(actor, key_id)
    if key.revoked_at is None:
        key.revoked_at = now()
        key.save(update_fields=["revoked_at"])
        audit.record(
            "deployments.key.revoked", actor=actor, obj_type="endpointkey", obj_id=str(key.id), obj_label=key.name,
            usecase_id=str(key.endpoint.usecase_id),
        )  # fmt: skip
        outbox.put("deployments.publish_routing", {})
    return key
