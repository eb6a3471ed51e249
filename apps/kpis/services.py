"""Write KPIs: define, measure, freeze, sign off what an effect is worth, meter what running costs."""

import math
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from apps.accounts.models import User
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid
from apps.core.ids import new_id, slugify
from apps.kpis import rules, selectors
from apps.kpis.models import Baseline, CostEntry, Kpi, Measurement, RateCard, ValueConversion
from apps.kpis.rules import rows as row_rules
from apps.kpis.rules.effects import summarise
from apps.kpis.rules.value import check_target_and_floor
from apps.usecases import selectors as usecases
from apps.usecases.models import UseCase

# Of a batch's rows, so many stand in the trail word for word; the digest is over all.
ROWS_TOLD = 20


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a batch: counts, and `refused` as [{row: number from 0, errors: {field: sentence}}]."""

    accepted: int
    corrected: int
    repeated: int
    refused: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def _locked_usecase(actor: Actor, usecase_id: Any) -> UseCase:
    usecase: UseCase = UseCase.objects.visible_to(actor).one("use case", id=usecase_id)
    rules.check_may_change(usecases.may_change(actor, usecase.id))
    return UseCase.objects.select_for_update(no_key=True).get(id=usecase.id)


def _locked_kpi(actor: Actor, kpi_id: Any) -> Kpi:
    """The KPI, visible and changeable, and locked: writers of one KPI queue here."""
    found = selectors.kpi(actor, kpi_id)
    rules.check_may_change(usecases.may_change(actor, found.usecase_id))
    return Kpi.objects.select_for_update(of=("self",), no_key=True).select_related("usecase").get(id=found.id)


@transaction.atomic
def define_kpi(
    *,
    actor: Actor,
    usecase_id: Any,
    name: str,
    dimension: str,
    unit: str,
    direction: str,
    aggregation: str,
    question: str = "",
    target: float | None = None,
    floor: float | None = None,
    cadence: str = "monthly",
    owner: User | None = None,
    source: str = "",
    primary: bool = False,
    scale: float = 1.0,
    slug: str = "",
) -> Kpi:
    """Define a figure the use case is judged by. target and floor in `unit`; `scale` multiplies a ratio (1000 for "per 1,000").

    Without `owner`, the use case's owner answers for it. Raises Invalid naming the field, Conflict when the name is taken.
    """
    usecase = _locked_usecase(actor, usecase_id)
    fields = rules.check_definition(
        {
            "name": name, "question": question, "dimension": dimension, "unit": unit, "direction": direction, "aggregation": aggregation,
            "target": target, "floor": floor, "cadence": cadence, "source": source, "scale": scale,
        }
    )  # fmt: skip
    check_target_and_floor(target, floor, direction)
    slug = slugify(slug or name)
    if usecase.kpis.filter(slug=slug).exists():
        raise Conflict(f"name: this use case has a KPI {slug!r} already.", errors={"name": ["Taken."]})
    kpi = Kpi.objects.create(usecase=usecase, slug=slug, owner=owner or usecase.owner, primary=primary, **fields)
    audit.record(
        "kpis.kpi.defined", actor=actor, obj_type="kpi", obj_id=str(kpi.id), obj_label=kpi.name, usecase_id=str(usecase.id),
        after={**fields, "slug": slug, "primary": primary, "owner": kpi.owner.email},
    )  # fmt: skip
    return kpi


@transaction.atomic
def change_kpi(*, actor: Actor, kpi_id: Any, **fields: Any) -> Kpi:
    """Change a definition; only what is given changes. Once measured, unit, direction and aggregation stay."""
    kpi = _locked_kpi(actor, kpi_id)
    known = {"name", "question", "dimension", "unit", "direction", "aggregation", "target", "floor", "cadence", "owner", "source",
             "primary", "scale"}  # fmt: skip
    if unknown := sorted(set(fields) - known):
        raise Invalid(f"{unknown[0]}: this cannot be changed.", errors={unknown[0]: ["Unknown."]})
    clean = rules.check_definition(fields)
    changed = {k: v for k, v in clean.items() if getattr(kpi, k) != v}
    rules.check_changeable(changed, kpi.measurements.exists())
    before = {k: getattr(kpi, k) for k in changed}
    for name, value in changed.items():
        setattr(kpi, name, value)
    check_target_and_floor(kpi.target, kpi.floor, kpi.direction)
    if changed:
        kpi.save(update_fields=[*changed])
        audit.record(
            "kpis.kpi.changed", actor=actor, obj_type="kpi", obj_id=str(kpi.id), obj_label=kpi.name, usecase_id=str(kpi.usecase_id),
            before={k: str(v) if isinstance(v, User) else v for k, v in before.items()},
            after={k: str(v) if isinstance(v, User) else v for k, v in changed.items()},
        )  # fmt: skip
    return kpi


@transaction.atomic
def record_measurements(*, actor: Actor, kpi_id: Any, rows: list[dict[str, Any]], mode: str = "all", measured_from: str = "") -> Report:
    """Take a batch of rows (see rules.rows.read for their fields).

    mode `all`: a bad row refuses the batch (Invalid with `refused`); `good`: the good ones land. A row that came before under
    the same external_id is counted as repeated; with other content it is a correction, and the old row is kept beside it.
    measured_from: what a monitor of ours has measured them from, such as "labelled predictions"; only then may a row carry the
    portal's marks, so that nobody can replace its figures. Without it the rows are given, under the actor's name, and a version
    they name must be one of a linked model.
    """
    kpi = _locked_kpi(actor, kpi_id)
    row_rules.check_mode(mode)
    row_rules.check_size(rows)
    good: dict[str, tuple[int, row_rules.Row]] = {}
    refused: list[dict[str, Any]] = []
    repeated = 0
    known_versions = set() if measured_from else selectors.version_labels(kpi.usecase_id)
    for number, raw in enumerate(rows):
        row, errors = row_rules.read(raw, aggregation=kpi.aggregation, scale=kpi.scale)
        if row is not None and not measured_from:
            errors = row_rules.not_theirs(row, now()) | row_rules.of_known_version(row, known_versions)
            row = None if errors else row
        if row is not None and row.external_id in good:
            if good[row.external_id][1].content() == row.content():
                repeated += 1
                continue
            errors = {"external_id": f"Row {good[row.external_id][0]} of this batch has it with other content."}
            row = None
        if row is None:
            refused.append({"row": number, "errors": errors})
        else:
            good[row.external_id] = (number, row)
    if refused and mode == "all":
        first = refused[0]
        name, words = next(iter(first["errors"].items()))
        raise Invalid(
            f"rows[{first['row']}].{name}: {words} {len(refused)} of {len(rows)} rows are bad; nothing was stored.",
            errors={f"rows[{r['row']}].{k}": [w] for r in refused[:100] for k, w in r["errors"].items()},
            refused=refused,
        )
    known = {m.external_id: m for m in Measurement.objects.filter(kpi=kpi, external_id__in=[*good], superseded_by=None)}
    origin = Measurement.Origin.MEASURED if measured_from else Measurement.Origin.GIVEN
    new, corrected = [], []
    for external_id, (_, row) in good.items():
        old = known.get(external_id)
        if old is not None and _same(old, row):
            repeated += 1
            continue
        made = Measurement(
            id=new_id(), kpi=kpi, received_at=now(), origin=origin, recorded_by=actor.label[:300], counts=measured_from[:300], **asdict(row)
        )
        new.append(made)
        if old is not None:
            old.superseded_by_id = made.id
            corrected.append(old)
    # The old rows step aside first, because an external_id is unique among rows in force; their key is checked at commit.
    Measurement.objects.bulk_update(corrected, ["superseded_by"], batch_size=1_000)
    Measurement.objects.bulk_create(new, batch_size=1_000)
    report = Report(accepted=len(new) - len(corrected), corrected=len(corrected), repeated=repeated, refused=refused)
    if new:
        audit.record(
            "kpis.measurements.recorded", actor=actor, obj_type="kpi", obj_id=str(kpi.id), obj_label=kpi.name,
            usecase_id=str(kpi.usecase_id),
            after={
                "accepted": report.accepted, "corrected": report.corrected, "repeated": repeated, "refused": len(refused), "mode": mode,
                "origin": origin, "counts": measured_from,
                "rows_digest": digest_of([[m.external_id, m.value, m.n] for m in new]),
                "first_rows": [[m.external_id, m.value, m.n, m.version_label, m.source] for m in new[:ROWS_TOLD]],
            },
        )  # fmt: skip
    return report


def _same(old: Measurement, row: row_rules.Row) -> bool:
    return row.content() == (
        old.period_start, old.period_end, old.value, old.n, old.numerator, old.denominator, old.variance, old.source, old.version_label,
    )  # fmt: skip


@transaction.atomic
def freeze_baseline(
    *,
    actor: Actor,
    kpi_id: Any,
    period_start: datetime,
    period_end: datetime,
    note: str = "",
    attested_value: float | None = None,
) -> Baseline:
    """Freeze what the KPI was over [period_start, period_end), from measurements made without a model (no version label).

    attested_value: a figure stated by a person where nothing can be measured; then `note` says whose figure it is. A second
    baseline takes the first one's place and needs a note. Raises Invalid naming the field.
    """
    kpi = _locked_kpi(actor, kpi_id)
    if period_end <= period_start:
        raise Invalid("period_end: it must lie after period_start.", errors={"period_end": ["Too early."]})
    old = selectors.baseline_in_force(kpi.id)
    note = rules.check_rebaseline(note, old is not None)
    facts: dict[str, Any]
    if attested_value is not None:
        if not note or not math.isfinite(attested_value):
            raise Invalid("note: say whose figure it is and where it comes from.", errors={"note": ["Needed."]})
        facts = {"value": float(attested_value), "spread": None, "n": 0, "method": "attested by a person, not measured", "sample": []}
    else:
        facts = _measured_baseline(kpi, period_start, period_end)
    if old is not None:
        old.superseded_at = now()
        old.save(update_fields=["superseded_at"])
    content = {"kpi": str(kpi.id), "period_start": period_start, "period_end": period_end, "note": note, **facts}
    baseline = Baseline.objects.create(
        kpi=kpi, period_start=period_start, period_end=period_end, note=note, digest=digest_of(content),
        frozen_at=now(), frozen_by=actor.label, **facts,
    )  # fmt: skip
    audit.record(
        "kpis.baseline.frozen", actor=actor, obj_type="baseline", obj_id=str(baseline.id), obj_label=kpi.name,
        usecase_id=str(kpi.usecase_id), reason=note,
        before={"baseline": str(old.id), "value": old.value} if old else None,
        after={k: facts[k] for k in ("value", "spread", "n", "method")} | {"digest": baseline.digest},
    )  # fmt: skip
    return baseline


def _measured_baseline(kpi: Kpi, start: datetime, end: datetime) -> dict[str, Any]:
    rows = list(
        Measurement.objects.filter(
            kpi=kpi, superseded_by=None, version_label="", period_start__gte=start, period_end__lte=end
        ).order_by("period_start", "id")
    )  # fmt: skip
    if not rows:
        raise Invalid(
            "period_start: no measurements without a model lie in this period. Record them first, or widen the period.",
            errors={"period_start": ["Nothing measured."]},
        )
    summary = summarise([selectors.as_point(r) for r in rows], kpi.aggregation, kpi.scale)
    sample = [
        {
            "id": str(r.id), "start": r.period_start.isoformat(), "end": r.period_end.isoformat(), "value": r.value, "n": r.n,
            "numerator": r.numerator, "denominator": r.denominator, "variance": r.variance,
        }
        for r in rows
    ]  # fmt: skip
    plural = "" if summary.periods == 1 else "s"
    method = f"{kpi.aggregation} of {summary.periods} period{plural}, spread over {summary.units} {summary.unit}"
    return {"value": summary.value, "spread": summary.stderr, "n": summary.n, "method": method, "sample": sample}


@transaction.atomic
def set_value_conversion(
    *, actor: Actor, kpi_id: Any, value_per_unit: Decimal, currency: str, per_n: int | None = None, note: str = ""
) -> ValueConversion:
    """Sign off what one unit of improvement is worth; the newest is in force. per_n: once for every so many observations."""
    kpi = _locked_kpi(actor, kpi_id)
    person = User.objects.filter(id=actor.user_id).first() if actor.user_id else None
    if person is None:
        raise Invalid("signed_off_by: a person signs off money. Use a person's token.", errors={"signed_off_by": ["Needed."]})
    if not Decimal(value_per_unit).is_finite() or value_per_unit <= 0:
        raise Invalid("value_per_unit: give an amount above 0.", errors={"value_per_unit": ["Out of range."]})
    if per_n is not None and per_n < 1:
        raise Invalid("per_n: give 1 or more, or leave it out.", errors={"per_n": ["Out of range."]})
    _check_currency(currency)
    row = ValueConversion.objects.create(
        kpi=kpi, value_per_unit=value_per_unit, currency=currency, per_n=per_n, note=note.strip(), signed_off_by=person, signed_off_at=now()
    )
    audit.record(
        "kpis.conversion.signed_off", actor=actor, obj_type="valueconversion", obj_id=str(row.id), obj_label=kpi.name,
        usecase_id=str(kpi.usecase_id), after={"value_per_unit": value_per_unit, "currency": currency, "per_n": per_n}, reason=row.note,
    )  # fmt: skip
    return row


def _check_currency(currency: str) -> None:
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
        raise Invalid("currency: give a three-letter code such as EUR.", errors={"currency": ["Not a code."]})


@transaction.atomic
def set_rate_card(
    *,
    actor: Actor,
    name: str = "default",
    cpu_hour: Decimal,
    gpu_hour: Decimal,
    currency: str,
    memory_gib_hour: Decimal = Decimal(0),
    per_1k_requests: Decimal = Decimal(0),
) -> RateCard:
    """Set what computing costs from now on; older cards stay for the figures made with them."""
    rules.check_may_set_rates(actor)
    prices = {"cpu_hour": cpu_hour, "gpu_hour": gpu_hour, "memory_gib_hour": memory_gib_hour, "per_1k_requests": per_1k_requests}
    for field_name, price in prices.items():
        if not Decimal(price).is_finite() or price < 0:
            raise Invalid(f"{field_name}: give 0 or more.", errors={field_name: ["Out of range."]})
    _check_currency(currency)
    card = RateCard.objects.create(name=slugify(name), currency=currency, **prices)
    audit.record(
        "kpis.rate_card.set", actor=actor, obj_type="ratecard", obj_id=str(card.id), obj_label=card.name,
        after={**prices, "currency": currency},
    )  # fmt: skip
    return card


@transaction.atomic
def record_cost(
    *,
    actor: Actor,
    usecase_id: Any,
    period_start: datetime,
    period_end: datetime,
    amount: Decimal,
    currency: str,
    source: str,
    external_id: str,
) -> CostEntry:
    """Write what running the use case cost over a period. The same external_id again changes nothing."""
    usecase = _locked_usecase(actor, usecase_id)
    _check_currency(currency)
    if period_end <= period_start:
        raise Invalid("period_end: it must lie after period_start.", errors={"period_end": ["Too early."]})
    if not Decimal(amount).is_finite() or amount < 0:
        raise Invalid("amount: give 0 or more.", errors={"amount": ["Out of range."]})
    if not external_id.strip() or len(external_id) > 200:
        raise Invalid("external_id: name the entry, so that a repeat changes nothing.", errors={"external_id": ["Needed."]})
    entry, created = CostEntry.objects.get_or_create(
        usecase=usecase, external_id=external_id.strip(),
        defaults={
            "period_start": period_start, "period_end": period_end, "amount": amount, "currency": currency, "source": source[:300],
            "received_at": now(),
        },
    )  # fmt: skip
    if created:
        audit.record(
            "kpis.cost.recorded", actor=actor, obj_type="costentry", obj_id=str(entry.id), obj_label=source[:100],
            usecase_id=str(usecase.id),
            after={"amount": amount, "currency": currency, "period_start": period_start, "period_end": period_end},
        )  # fmt: skip
    return entry
