"""Reads of KPIs, always from the use cases the actor may see."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, F, FloatField, Max, Min, Q, QuerySet, Sum
from django.db.models.functions import Cast

from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.errors import NotFound
from apps.kpis.models import Baseline, CostEntry, Kpi, Measurement, RateCard, ValueConversion
from apps.kpis.rules.effects import Effect, Point
from apps.kpis.rules.effects import effect as compare
from apps.kpis.rules.origins import Share, Source, shares
from apps.kpis.rules.value import Attainment, attainment, value_realised, worth_by_month
from apps.registry.models import ModelVersion
from apps.usecases.models import UseCase, UsedModel

SERIES_LIMIT = 5_000


def visible(actor: Actor) -> QuerySet[Kpi]:
    """KPIs of the use cases the actor may see."""
    if actor.sees_everything:
        return Kpi.objects.all()
    return Kpi.objects.filter(usecase_id__in=UseCase.objects.visible_to(actor).values("id"))


def kpis(actor: Actor, usecase_id: Any = None) -> QuerySet[Kpi]:
    """Visible KPIs (of one use case), newest first, with owner and use case."""
    rows = visible(actor).select_related("owner", "usecase")
    return (rows.filter(usecase_id=usecase_id) if usecase_id is not None else rows).order_by("-id")


def of_usecase(usecase_id: Any) -> list[Kpi]:
    """All KPIs of one use case, primary ones first, for checks and services of ours."""
    return list(Kpi.objects.filter(usecase_id=usecase_id).select_related("usecase").order_by("-primary", "slug"))


def kpi(actor: Actor, kpi_id: Any) -> Kpi:
    """One visible KPI, or NotFound."""
    try:
        found = kpis(actor).filter(id=uuid.UUID(str(kpi_id))).first()
    except ValueError:
        found = None
    if found is None:
        raise NotFound("There is no such KPI, or you may not see it. Check the address or ask its owner.")
    return found


def baseline_in_force(kpi_id: Any) -> Baseline | None:
    """The baseline effects are counted from, or None."""
    return Baseline.objects.filter(kpi_id=kpi_id, superseded_at=None).first()


def baselines(kpi_id: Any) -> QuerySet[Baseline]:
    """All baselines, the one in force first; without their samples."""
    return Baseline.objects.filter(kpi_id=kpi_id).defer("sample").order_by("-frozen_at", "-id")


def _current(kpi_id: Any) -> QuerySet[Measurement]:
    return Measurement.objects.filter(kpi_id=kpi_id, superseded_by=None)


def series(kpi: Kpi, *, version_label: str | None = None, limit: int = SERIES_LIMIT) -> list[Measurement]:
    """The newest `limit` measurements in force, oldest first (of one model version, or `""` for none)."""
    rows = _current(kpi.id)
    if version_label is not None:
        rows = rows.filter(version_label=version_label)
    return sorted(rows.order_by("-period_start", "-id")[:limit], key=lambda m: (m.period_start, m.id))


def measurements(kpi_id: Any) -> QuerySet[Measurement]:
    """Everything that arrived, corrected rows too, newest first."""
    return Measurement.objects.filter(kpi_id=kpi_id).order_by("-id")


def as_point(row: Measurement) -> Point:
    """A measurement as statistics want it."""
    return Point(value=row.value, n=row.n, numerator=row.numerator, denominator=row.denominator, variance=row.variance)


def sample_points(baseline: Baseline) -> list[Point]:
    """What was frozen, as statistics want it."""
    return [
        Point(value=r["value"], n=r["n"], numerator=r["numerator"], denominator=r["denominator"], variance=r["variance"])
        for r in baseline.sample
    ]


def since(kpi: Kpi, baseline: Baseline | None, *, version_label: str | None = None, as_of: datetime | None = None) -> list[Measurement]:
    """What counts as `current`: rows of that model version; without one, rows under any version or after the baseline's period.

    What was frozen into the baseline never counts. `as_of` leaves out periods that ended later.
    """
    rows = _current(kpi.id)
    if as_of is not None:
        rows = rows.filter(period_end__lte=as_of)
    if version_label:
        rows = rows.filter(version_label=version_label)
    else:
        later = Q(period_start__gte=baseline.period_end) if baseline else Q(pk__in=[])
        rows = rows.filter(~Q(version_label="") | later)
    frozen = {r["id"] for r in baseline.sample} if baseline else set()
    return [r for r in rows.order_by("period_start", "id") if str(r.id) not in frozen]


def version_labels(usecase_id: Any) -> set[str]:
    """`name/3` of every version of the models linked to the use case."""
    rows = ModelVersion.objects.filter(model__in=UsedModel.objects.filter(usecase_id=usecase_id).values("model"))
    return {f"{name}/{version}" for name, version in rows.values_list("model__name", "version")}


def origins_of(rows: Iterable[Measurement]) -> list[Share]:
    """Who measured these rows, and how much of it."""
    return shares(Source(r.origin, r.recorded_by, r.counts, r.n) for r in rows)


def origins_of_baseline(baseline: Baseline) -> list[Share]:
    """Who measured what was frozen; empty for an attested figure."""
    return origins_of(Measurement.objects.filter(id__in=[r["id"] for r in baseline.sample]))


def effect_of(kpi: Kpi, baseline: Baseline | None, rows: Sequence[Measurement]) -> Effect:
    """The effect of these rows against this baseline."""
    attested = baseline.value if baseline and not baseline.sample else None
    return compare(
        sample_points(baseline) if baseline else [], [as_point(r) for r in rows], aggregation=kpi.aggregation,
        direction=kpi.direction, scale=kpi.scale, attested=attested,
    )  # fmt: skip


def effect(kpi: Kpi, version_label: str | None = None, *, as_of: datetime | None = None) -> Effect:
    """Effect against the baseline in force, of one model version or of all that was measured since."""
    baseline = baseline_in_force(kpi.id)
    return effect_of(kpi, baseline, since(kpi, baseline, version_label=version_label, as_of=as_of))


def effects_by_version(kpi: Kpi) -> dict[str, Effect]:
    """model version label -> effect, for each version that was measured."""
    labels = _current(kpi.id).exclude(version_label="").values_list("version_label", flat=True).distinct().order_by("version_label")
    baseline = baseline_in_force(kpi.id)
    return {label: effect_of(kpi, baseline, since(kpi, baseline, version_label=label)) for label in labels}


def source_digest(baseline: Baseline | None, rows: Sequence[Measurement]) -> str:
    """Digest of what an effect was computed from."""
    return digest_of(
        {
            "baseline": baseline.digest if baseline else None,
            "rows": [[str(r.id), r.value, r.n, r.numerator, r.denominator, r.variance, r.origin] for r in rows],
        }
    )


def headlines(kpi_rows: Iterable[Kpi], live: Mapping[uuid.UUID, str] | None = None) -> dict[uuid.UUID, dict[str, Any]]:
    """kpi id -> {value, measured_until, version_label, measured_last, live, n, baseline, attainment} for many KPIs in three queries.

    live: use case id -> label of the version that answers there now. The value combines all measurements under that version;
    it is None while only other versions were measured, whatever they reached. Where nothing is live, it is of the version that
    was measured last; without any version, it is the last period alone. measured_last: the version measured last.
    """
    rows = {k.id: k for k in kpi_rows}
    in_force = Measurement.objects.filter(kpi_id__in=rows, superseded_by=None)
    newest = {m.kpi_id: m for m in in_force.order_by("kpi_id", "-period_end", "-id").distinct("kpi_id")}
    baselines = Baseline.objects.filter(kpi_id__in=rows, superseded_at=None)
    frozen = {b["kpi_id"]: b for b in baselines.values("kpi_id", "value", "spread", "period_end")}
    labels = {k: (live or {}).get(each.usecase_id) or (newest[k].version_label if k in newest else "") for k, each in rows.items()}
    labelled = Q(pk__in=[])
    for kpi_id, label in labels.items():
        if label:
            labelled |= Q(kpi_id=kpi_id, version_label=label)
    n = Cast("n", FloatField())
    added = Measurement.objects.filter(labelled, superseded_by=None).values("kpi_id")
    added = added.annotate(above=Sum("numerator"), below=Sum("denominator"), weighted=Sum(F("value") * n), until=Max("period_end"))
    sums: dict[uuid.UUID, Any] = {s["kpi_id"]: s for s in added.annotate(total=Sum("n"), plain=Sum("value"), periods=Count("id"))}
    out: dict[uuid.UUID, dict[str, Any]] = {}
    for kpi_id, each in rows.items():
        last, base, found, label = newest.get(kpi_id), frozen.get(kpi_id), sums.get(kpi_id), labels[kpi_id]
        # Rows without a version say how the whole does: where there are no others, they stand for what is live too, unless
        # they are what the baseline was frozen from.
        if found is None and last is not None and not last.version_label and not (base and last.period_start < base["period_end"]):
            label = ""
        alone = last if last is not None and not label else None
        value = _combined_sums(each, found) if found else alone.value if alone else None
        reached: Attainment = attainment(
            value, target=each.target, floor=each.floor, direction=each.direction, baseline=base["value"] if base else None
        )
        out[kpi_id] = {
            "value": value, "measured_until": found["until"] if found else alone.period_end if alone else None, "version_label": label,
            "measured_last": last.version_label if last else "", "live": (live or {}).get(each.usecase_id, ""),
            "n": found["total"] if found else alone.n if alone else 0,
            "baseline": base["value"] if base else None, "baseline_spread": base["spread"] if base else None, "attainment": reached,
        }  # fmt: skip
    return out


def _combined_sums(kpi: Kpi, sums: dict[str, Any]) -> float | None:
    """The database's sums as rules.effects.combined would have it."""
    if kpi.aggregation == Kpi.Aggregation.RATIO:
        return sums["above"] / sums["below"] * kpi.scale if sums["below"] else None
    if kpi.aggregation == Kpi.Aggregation.SUM:
        return sums["plain"] / sums["periods"]
    return sums["weighted"] / sums["total"]


def conversions(kpi_id: Any) -> QuerySet[ValueConversion]:
    """Value conversions, the one in force first."""
    return ValueConversion.objects.filter(kpi_id=kpi_id).select_related("signed_off_by").order_by("-signed_off_at", "-id")


def value(usecase: UseCase) -> dict[str, Any]:
    """What the use case is worth so far, in its own currency.

    {currency, kpis: [{kpi, conversion, effect, low, value, high, measured, origins, months, detail}], value, low, high, measured,
    cost, net}: figures are None where data is too little or nothing is metered; a conversion in another currency is listed but not
    added up. measured: the value counted from rows alone that the portal measured itself; origins: whose rows the value comes from.
    """
    rows = of_usecase(usecase.id)
    signed = ValueConversion.objects.filter(kpi__in=rows).select_related("signed_off_by")
    found = {c.kpi_id: c for c in signed.order_by("kpi_id", "-signed_off_at", "-id").distinct("kpi_id")}
    entries = [_value_of(k, found[k.id], usecase.currency) for k in rows if k.id in found]
    added = [e for e in entries if e["value"] is not None and not e["detail"]]
    spent = CostEntry.objects.filter(usecase=usecase, currency=usecase.currency).aggregate(
        amount=Sum("amount"), first=Min("period_start"), last=Max("period_end")
    )
    total = {end: sum(e[end] for e in added) if added else None for end in ("low", "value", "high")}
    proven = [e["measured"] for e in added if e["measured"] is not None]
    cost = float(spent["amount"]) if spent["amount"] is not None else None
    net = total["value"] - cost if total["value"] is not None and cost is not None else None
    return {
        "currency": usecase.currency, "kpis": entries, **total, "measured": sum(proven) if proven else None, "net": net,
        "cost": cost, "cost_from": spent["first"], "cost_until": spent["last"],
    }  # fmt: skip


def _value_of(kpi: Kpi, conversion: ValueConversion, currency: str) -> dict[str, Any]:
    baseline = baseline_in_force(kpi.id)
    rows = since(kpi, baseline)
    result = effect_of(kpi, baseline, rows)
    per_unit = float(conversion.value_per_unit)
    money = value_realised(result, direction=kpi.direction, value_per_unit=per_unit, per_n=conversion.per_n)
    own = [r for r in rows if r.origin == Measurement.Origin.MEASURED]
    proven = money
    if len(own) != len(rows):
        proven = value_realised(effect_of(kpi, baseline, own), direction=kpi.direction, value_per_unit=per_unit, per_n=conversion.per_n)
    months: list[dict[str, Any]] = []
    if baseline and money:
        months = worth_by_month(
            ((f"{r.period_start:%Y-%m}", as_point(r)) for r in rows), baseline=baseline.value, aggregation=kpi.aggregation, scale=kpi.scale,
            direction=kpi.direction, value_per_unit=per_unit, per_n=conversion.per_n,
        )  # fmt: skip
    detail = result.detail if money is None else "" if conversion.currency == currency else f"In {conversion.currency}, not added up."
    low, middle, high = money or (None, None, None)
    return {
        "kpi": kpi, "conversion": conversion, "effect": result, "low": low, "value": middle, "high": high,
        "measured": proven[1] if proven else None, "origins": origins_of(rows), "months": months, "detail": detail,
    }  # fmt: skip


def rate_card(name: str = "default") -> RateCard | None:
    """The rate card in force, or None before one was set."""
    return RateCard.objects.filter(name=name).order_by("-created_at", "-id").first()


def rate_cards() -> QuerySet[RateCard]:
    """All rate cards, newest first; everybody may see prices."""
    return RateCard.objects.order_by("-id")
