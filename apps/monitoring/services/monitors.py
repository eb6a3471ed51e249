"""Set up and retire monitors."""

from datetime import datetime
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid
from apps.core.ids import slugify
from apps.deployments import rules as deployment_rules
from apps.deployments import selectors as deployments
from apps.kpis import selectors as kpis
from apps.monitoring import selectors
from apps.monitoring.gateways import captures
from apps.monitoring.models import Monitor
from apps.monitoring.rules import drift
from apps.monitoring.rules import settings as rules

MAX_REFERENCE_ROWS = 100_000


@transaction.atomic
def create_monitor(
    *,
    actor: Actor,
    endpoint_id: Any,
    kind: str,
    name: str = "",
    config: dict[str, Any] | None = None,
    reference: dict[str, Any] | None = None,
    since: datetime | None = None,
) -> Monitor:
    """Watch an endpoint's traffic from `since` (now) on. A monitor of the same kind there is retired.

    config: see rules/settings.py. reference (drift only), one of: `{"rows": [{feature: value}], "source": text}`,
    `{"since", "until"}` (captured traffic of a calm time), `{"monitor": id}` (that of another drift monitor).
    Raises Invalid naming the setting, NotAllowed, NotFound.
    """
    deployment_rules.check_may_deploy(actor)
    endpoint = deployments.changeable_endpoint(actor, endpoint_id, lock=True)
    clean = rules.check_config(kind, config or {})
    clean["kpis"] = {metric: slugify(name, limit=80) for metric, name in clean["kpis"].items()}
    _check_kpis(endpoint.usecase_id, clean["kpis"])
    made: dict[str, Any] = {}
    if kind == Monitor.Kind.DRIFT:
        made = _reference(actor, endpoint.id, reference or {}, bins=clean["bins"])
    elif reference:
        raise Invalid("reference: only a drift monitor has one.", errors={"reference": ["Leave it out."]})
    for old in Monitor.objects.select_for_update(no_key=True).filter(endpoint=endpoint, kind=kind, active=True):
        _retire(actor, old)
    monitor = Monitor.objects.create(
        endpoint=endpoint, kind=kind, name=name.strip()[:200] or f"{kind} of {endpoint.name}"[:200], config=clean, reference=made,
        reference_digest=digest_of(made) if made else "", cursor_at=since or now(), created_by=actor.label,
    )  # fmt: skip
    audit.record(
        "monitoring.monitor.created", actor=actor, obj_type="monitor", obj_id=str(monitor.id), obj_label=monitor.name,
        usecase_id=str(endpoint.usecase_id),
        after={
            "kind": kind, "endpoint": endpoint.slug, "config": clean, "reference_digest": monitor.reference_digest,
            "reference_rows": made.get("n"), "reference_source": made.get("source"),
        },
    )  # fmt: skip
    return monitor


def _check_kpis(usecase_id: Any, wanted: dict[str, str]) -> None:
    known = {k.slug for k in kpis.of_usecase(usecase_id)}
    for metric, slug in wanted.items():
        if slug not in known:
            raise Invalid(
                f"config.kpis.{metric}: this use case has no KPI {slug!r}. Known: {', '.join(sorted(known)) or 'none'}.",
                errors={f"config.kpis.{metric}": ["Unknown KPI."]},
            )


def _reference(actor: Actor, endpoint_id: Any, given: dict[str, Any], *, bins: int) -> dict[str, Any]:
    if "monitor" in given:
        other = selectors.monitor(actor, given["monitor"])
        if not other.reference:
            raise Invalid("reference.monitor: that monitor has no reference.", errors={"reference.monitor": ["Not a drift monitor."]})
        return dict(other.reference)
    if "rows" in given:
        rows = rules.check_rows(given["rows"], most=MAX_REFERENCE_ROWS)
        names = sorted({name for row in rows for name in row})
        columns = {name: drift.as_values([row.get(name) for row in rows]) for name in names}
        return drift.reference_of(columns, bins=bins, source=str(given.get("source", "posted rows"))[:300])
    if "since" in given and "until" in given:
        since, until = _moment(given, "since"), _moment(given, "until")
        table = captures.read(endpoint_id, since=since, until=until, shadow=False, columns=["features"])
        if len(table) == 0:
            raise Invalid("reference.since: nothing was captured in this time.", errors={"reference.since": ["No rows."]})
        columns = captures.feature_columns(table.column("features"))
        return drift.reference_of(columns, bins=bins, source=f"captured traffic, {since.isoformat()} to {until.isoformat()}")
    raise Invalid("reference: a drift monitor needs rows, since and until, or another monitor.", errors={"reference": ["Needed."]})


def _moment(given: dict[str, Any], name: str) -> datetime:
    value = given[name]
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise Invalid(
            f"reference.{name}: give a moment such as 2026-11-01T00:00:00Z.", errors={f"reference.{name}": ["No moment."]}
        ) from error
    if moment.tzinfo is None:
        raise Invalid(f"reference.{name}: give the time zone, such as Z.", errors={f"reference.{name}": ["No time zone."]})
    return moment


@transaction.atomic
def retire_monitor(*, actor: Actor, monitor_id: Any) -> Monitor:
    """Take a monitor out of service; its windows stay. Repeating it changes nothing."""
    deployment_rules.check_may_deploy(actor)
    found = selectors.monitor(actor, monitor_id)
    deployments.check_may_change(actor, found.endpoint.usecase_id)
    monitor = Monitor.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint").get(id=found.id)
    if monitor.active:
        _retire(actor, monitor)
    return monitor


def _retire(actor: Actor, monitor: Monitor) -> None:
    monitor.active = False
    monitor.save(update_fields=["active"])
    audit.record(
        "monitoring.monitor.retired", actor=actor, obj_type="monitor", obj_id=str(monitor.id), obj_label=monitor.name,
        usecase_id=str(monitor.endpoint.usecase_id),
    )  # fmt: skip


def check_may_evaluate(actor: Actor, monitor: Monitor) -> None:
    """Whoever may change the use case may have its monitors look now. Conflict for a retired one."""
    deployments.check_may_change(actor, monitor.endpoint.usecase_id)
    if not monitor.active:
        raise Conflict("monitor: it is retired. Create a new one.")
