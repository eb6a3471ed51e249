"""What the portfolio reads: a constant number of queries, however many use cases there are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, F, FloatField, Func, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Cast

from apps.approvals.models import Gate
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.templatetags.gatehouse import measured, utc
from apps.dashboard.selectors_kpi import headlines, live_labels
from apps.kpis.models import Baseline, CostEntry, Kpi, Measurement, ValueConversion
from apps.kpis.rules import effects
from apps.kpis.rules.value import gain, worth
from apps.monitoring.models import Incident
from apps.usecases import rules, stage_line
from apps.usecases import selectors as usecases_reads
from apps.usecases.models import UseCase

PER_PAGE = 50
LISTED = 20
BOARD = ("proposal", "poc", "pilot", "production", "on_hold", "stopped", "retired")
# Where something runs comes first; in a stage, what has stood there longest.
ORDER = ("production", "pilot", "poc", "proposal", "on_hold", "retired", "stopped")


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for; unknown values count as none."""

    stage: str = ""
    tier: str = ""
    q: str = ""
    mine: bool = False

    @classmethod
    def read(cls, given: Any) -> "Filters":
        """From a query string."""
        stage, tier = str(given.get("stage", "")), str(given.get("tier", ""))
        return cls(
            stage=stage if stage in BOARD else "", tier=tier if tier in rules.TIERS else "",
            q=str(given.get("q", "")).replace("\x00", "").strip()[:100], mine=given.get("mine") == "on",
        )  # fmt: skip

    def __bool__(self) -> bool:
        return bool(self.stage or self.tier or self.q or self.mine)


@dataclass(slots=True)
class Row:
    """One use case of the ledger. `money` is the middle estimate of its value, None where nothing can be said."""

    usecase: UseCase
    seconds: float
    kpi: Kpi | None
    head: dict[str, Any] | None
    money: float | None
    cost: float | None
    gate: Gate | None
    incidents: int

    @property
    def days(self) -> int:
        """Whole days in the stage."""
        return int(self.seconds // 86_400)

    @property
    def unit(self) -> str:
        """The KPI's unit, or empty."""
        return self.kpi.unit if self.kpi else ""


@dataclass(frozen=True, slots=True)
class Tally:
    """A stage of the board and how many use cases stand there."""

    stage: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All visible use cases in numbers, whatever the filters say."""

    total: int
    board: list[Tally]
    waiting: int
    incidents: int
    stalled: int
    money: list[tuple[str, float, float]]  # currency, value realised, run cost


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that waits for the person, most urgent first: what, why, the word for it, and the page where it is done."""

    what: str
    why: str
    state: str
    path: str
    due_at: datetime | None = None


def needs(actor: Actor, gates: Iterable[tuple[Gate, str]]) -> list[Need]:
    """What the person is asked for now: gates that wait for them, then incidents and missed KPIs of the use cases they answer for."""
    waiting = [Need(f"{g.usecase.name}: {g}", why, "waits for you", f"/gates/{g.id}/", g.due_at) for g, why in gates]
    waiting += [
        Need(f"{row.usecase.name}: risk tier {row}", f"asked by {row.asked_by}", "waits for you", f"/usecases/{row.usecase.slug}/tier/")
        for row in usecases_reads.tiers_to_sign(actor)[:LISTED]
    ]
    theirs = UseCase.objects.filter(Q(owner_id=actor.user_id) | Q(sponsor_id=actor.user_id)) if actor.user_id else UseCase.objects.none()
    mine = {u.id: u for u in theirs.exclude(stage__in=("stopped", "retired"))[:PER_PAGE]}
    opened = Incident.objects.filter(usecase_id__in=mine, closed_at=None).select_related("endpoint").order_by("-opened_at")[:LISTED]
    for incident in opened:
        path = (
            f"/endpoints/{incident.endpoint.slug}/monitoring/#incident-{incident.id}"
            if incident.endpoint
            else f"/usecases/{mine[incident.usecase_id].slug}/"
        )
        waiting.append(
            Need(f"{mine[incident.usecase_id].name}: {incident.title}", f"open since {utc(incident.opened_at)}", "open incident", path)
        )
    measured_kpis = list(Kpi.objects.filter(usecase_id__in=mine).order_by("-primary", "slug"))
    heads = headlines(measured_kpis, live_labels(mine)) if measured_kpis else {}
    for kpi in measured_kpis:
        if heads[kpi.id]["attainment"].state == "missed":
            label = heads[kpi.id]["version_label"]
            why = f"{measured(heads[kpi.id]['value'], kpi.unit)}{f' with {label}' if label else ''}, floor {measured(kpi.floor, kpi.unit)}"
            waiting.append(Need(f"{mine[kpi.usecase_id].name}: {kpi.name}", why, "beyond the floor", f"/kpis/{kpi.id}/"))
    return waiting


def found(actor: Actor, filters: Filters) -> QuerySet[UseCase]:
    """Visible use cases that meet the filters, in the order of the ledger."""
    rows = UseCase.objects.visible_to(actor).select_related("owner", "sponsor")
    if filters.stage:
        rows = rows.filter(stage=filters.stage)
    if filters.tier:
        rows = rows.filter(risk_tier=filters.tier)
    if filters.mine:
        rows = rows.filter(Q(owner_id=actor.user_id) | Q(sponsor_id=actor.user_id) | Q(created_by_id=actor.user_id))
    for word in filters.q.split():
        rows = rows.filter(Q(name__icontains=word) | Q(problem__icontains=word) | Q(owner__full_name__icontains=word))
    place = Case(*(When(stage=stage, then=Value(index)) for index, stage in enumerate(ORDER)), default=Value(len(ORDER)))
    return rows.annotate(place=place).order_by("place", "stage_since", "id")


def rows(usecases: Sequence[UseCase]) -> list[Row]:
    """The ledger's rows for these use cases, in ten queries."""
    ids = [u.id for u in usecases]
    first = {
        k.usecase_id: k for k in Kpi.objects.filter(usecase_id__in=ids).order_by("usecase_id", "-primary", "slug").distinct("usecase_id")
    }
    heads = headlines(first.values(), live_labels(ids))
    gates = {
        g.usecase_id: g for g in Gate.objects.filter(usecase_id__in=ids, state__in=["draft", "open"]).order_by("usecase_id", "state", "id")
    }
    incidents = dict(Incident.objects.filter(usecase_id__in=ids, closed_at=None).values_list("usecase_id").annotate(Count("id")))
    money, costs = values(ids), costs_of(ids)
    moment = now()
    made = []
    for usecase in usecases:
        kpi = first.get(usecase.id)
        made.append(
            Row(
                usecase=usecase, seconds=(moment - usecase.stage_since).total_seconds(), kpi=kpi, head=heads[kpi.id] if kpi else None,
                money=money.get(usecase.id), cost=costs.get(usecase.id), gate=gates.get(usecase.id), incidents=incidents.get(usecase.id, 0),
            )
        )  # fmt: skip
    return made


def overview(actor: Actor) -> Overview:
    """The board and the totals."""
    visible = UseCase.objects.visible_to(actor)
    late = Count("id", filter=usecases_reads.past_their_time())
    stages = list(visible.values_list("stage").annotate(Count("id"), late=late))
    counts = {stage: count for stage, count, _ in stages}
    ids = visible.order_by().values("id")
    currencies = dict(visible.values_list("id", "currency"))
    money: dict[str, list[float]] = {}
    for place, found_money in enumerate((values(ids), costs_of(ids))):
        for usecase_id, amount in found_money.items():
            money.setdefault(currencies[usecase_id], [0.0, 0.0])[place] += amount
    return Overview(
        total=sum(counts.values()),
        board=[Tally(s, stage_line.NAMES[s], counts.get(s, 0)) for s in BOARD],
        waiting=Gate.objects.filter(usecase_id__in=ids, state="open").count(),
        incidents=Incident.objects.filter(usecase_id__in=ids, closed_at=None).count(),
        stalled=sum(count for _, _, count in stages),
        money=[(currency, value, cost) for currency, (value, cost) in sorted(money.items())],
    )


def costs_of(usecase_ids: Any) -> dict[UUID, float]:
    """use case -> metered run cost in its own currency."""
    entries = CostEntry.objects.filter(usecase_id__in=usecase_ids, currency=F("usecase__currency"))
    return {u: float(a) for u, a in entries.values_list("usecase_id").annotate(Sum("amount"))}


def values(usecase_ids: Any) -> dict[UUID, float]:
    """use case -> value realised in its own currency, the middle estimate of kpis.selectors.value, without its interval.

    Left out: use cases without a signed conversion in their currency, without a baseline, or with too little data.
    """
    conversions = {
        c.kpi_id: c
        for c in ValueConversion.objects.filter(kpi__usecase_id__in=usecase_ids)
        .select_related("kpi__usecase")
        .order_by("kpi_id", "-signed_off_at", "-id")
        .distinct("kpi_id")
    }
    sums = _sums(conversions)
    total: dict[UUID, float] = {}
    for kpi_id, conversion in conversions.items():
        kpi, row = conversion.kpi, sums.get(kpi_id)
        if row is None or conversion.currency != kpi.usecase.currency or not _enough(kpi, row):
            continue
        current = _combined(kpi, row)
        if current is None:
            continue
        amount = worth(
            gain(current - row["base"], kpi.direction), n=row["total"], periods=row["periods"],
            value_per_unit=float(conversion.value_per_unit), per_n=conversion.per_n,
        )  # fmt: skip
        total[kpi.usecase_id] = total.get(kpi.usecase_id, 0.0) + amount
    return total


def _sums(kpi_ids: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
    """kpi -> sums over what was measured since its baseline, as kpis.selectors.since draws the line, with the baseline's facts."""
    frozen = Baseline.objects.filter(kpi_id=OuterRef("kpi_id"), superseded_at=None)
    rows = (
        Measurement.objects.filter(kpi_id__in=list(kpi_ids), superseded_by=None)
        .annotate(
            base=Subquery(frozen.values("value")[:1]),
            base_until=Subquery(frozen.values("period_end")[:1]),
            base_n=Subquery(frozen.values("n")[:1]),
            base_periods=Subquery(
                frozen.annotate(size=Func("sample", function="jsonb_array_length", output_field=IntegerField())).values("size")[:1]
            ),
        )
        .filter(Q(period_start__gte=F("base_until")) | ~Q(version_label=""), base__isnull=False)
    )
    n = Cast("n", FloatField())
    grouped = rows.values("kpi_id", "base", "base_n", "base_periods").annotate(
        above=Sum("numerator"), below=Sum("denominator"), weighted=Sum(F("value") * n), total=Sum("n"), plain=Sum("value"),
        periods=Count("id"), spread=Count("variance"),
    )  # fmt: skip
    return {row["kpi_id"]: dict(row) for row in grouped}


def _by_observation(row: dict[str, Any]) -> bool:
    """Whether every period has its variance, so that single observations count."""
    return bool(row["spread"] == row["periods"] and row["total"] > row["periods"])


def _enough(kpi: Kpi, row: dict[str, Any]) -> bool:
    """Whether both sides suffice for an interval, by the limits of kpis.rules.effects."""
    sides = [(row["total"], row["periods"])] + ([(row["base_n"], row["base_periods"])] if row["base_periods"] else [])
    if kpi.aggregation in (Kpi.Aggregation.RATIO, Kpi.Aggregation.PERCENTILE):
        return all(periods >= effects.MIN_PERIODS_BOOTSTRAP for _, periods in sides)
    if kpi.aggregation == Kpi.Aggregation.MEAN and _by_observation(row):
        return all(n >= effects.MIN_OBSERVATIONS for n, _ in sides)
    return all(periods >= effects.MIN_PERIODS_MEAN for _, periods in sides)


def _combined(kpi: Kpi, row: dict[str, Any]) -> float | None:
    """The value since the baseline, from the database's sums."""
    if kpi.aggregation == Kpi.Aggregation.RATIO:
        return row["above"] / row["below"] * kpi.scale if row["below"] else None
    if kpi.aggregation == Kpi.Aggregation.PERCENTILE or (kpi.aggregation == Kpi.Aggregation.MEAN and _by_observation(row)):
        return row["weighted"] / row["total"] if row["total"] else None
    return row["plain"] / row["periods"]
