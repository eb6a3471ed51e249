"""The forms of a KPI: which fields, and how what was typed becomes the arguments of one service."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from apps.core.actor import Actor
from apps.core.errors import Invalid
from apps.core.fields import Field, moment, needed, number, typed, whole
from apps.core.templatetags.gatehouse import measured
from apps.dashboard.web import usecase_fields as forms
from apps.dashboard.web.edits import KPI
from apps.kpis import services
from apps.kpis.models import Kpi
from apps.kpis.rules.rows import FIELDS, MAX_ROWS

PERIOD = (
    Field("period_start", "From (UTC)", "datetime-local", required=True),
    Field("period_end", "Until (UTC)", "datetime-local", required=True, hint="Not included."),
)
FIGURES = {
    "ratio": (
        Field("numerator", "Numerator", "number", required=True),
        Field("denominator", "Denominator", "number", required=True),
    ),
    "mean": (Field("value", "Mean", "number", required=True), Field("variance", "Variance", "number", hint="Of the single observations.")),
    "sum": (Field("value", "Sum", "number", required=True),),
    "percentile": (Field("value", "Percentile", "number", required=True),),
}
ABOUT = (
    Field("n", "Observations", "number", hint="How many single cases are behind it."),
    Field("version_label", "Model version", hint="Such as care-outreach/2. Empty: measured without a model."),
    Field("source", "Source"),
)
PASTE = (
    Field("rows", "Rows, with a header line", "textarea", rows=8, required=True, hint=f"Columns: {', '.join(FIELDS)}. Comma, semicolon or tab."),
    Field("mode", "If a row is bad", "select", required=True, choices=(("all", "store nothing"), ("good", "store the good rows"))),
)
BASELINE = (
    *PERIOD,
    Field("attested_value", "Attested figure", "number", hint="Only where nothing can be measured. Then say below whose figure it is."),
    Field("note", "Note", "textarea", rows=2, hint="Needed for an attested figure, and when it takes another baseline's place."),
)
WORTH = (
    Field("value_per_unit", "Money for one unit of improvement", "number", required=True),
    Field("currency", "Currency", required=True),
    Field("per_n", "Once for every so many observations", "number", hint="1000 for a cost per 1,000 decisions. Empty: once a period."),
    Field("note", "Why it is worth that", "textarea", rows=2),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a KPI; `do` returns the sentence that says what has happened."""

    title: str
    hint: str
    button: str
    fields: Callable[[Kpi], tuple[Field, ...]]
    do: Callable[[Actor, Kpi, Any], str]


def _record(actor: Actor, kpi: Kpi, post: Any) -> str:
    fields = (*PERIOD, *FIGURES[kpi.aggregation], *ABOUT)
    given = typed(fields, post)
    needed(given, *(f.name for f in fields if f.required))
    row: dict[str, Any] = {f.name: number(given, f.name) for f in FIGURES[kpi.aggregation]}
    row |= {"period_start": moment(given, "period_start"), "period_end": moment(given, "period_end"), "n": whole(given, "n") or 1}
    row |= {"version_label": given["version_label"], "source": given["source"] or "typed in by hand"}
    try:
        report = services.record_measurements(actor=actor, kpi_id=kpi.id, rows=[row])
    except Invalid as error:  # one row is meant, so its fields are named without the row's number
        plain = {name.removeprefix("rows[0]."): sentences for name, sentences in error.errors.items()}
        raise Invalid("; ".join(f"{name}: {' '.join(s)}" for name, s in plain.items()) or error.detail, errors=plain) from error
    return "It is recorded." if report.accepted else "That measurement was there already; nothing changed."


def read_rows(text: str) -> list[dict[str, Any]]:
    """Pasted lines as rows for record_measurements. Raises Invalid for lines that are no table; bad values are left to the service."""
    first = text.strip().partition("\n")[0]
    delimiter = max(("\t", ";", ","), key=first.count)
    reader = csv.DictReader(io.StringIO(text.strip()), delimiter=delimiter, skipinitialspace=True)
    names = [n.strip() for n in reader.fieldnames or []]
    if unknown := [n for n in names if n not in FIELDS]:
        raise Invalid(f"rows: the header names {unknown[0]!r}. Known columns: {', '.join(FIELDS)}.", errors={"rows": ["Unknown column."]})
    reader.fieldnames = names
    rows: list[dict[str, Any]] = []
    for line in reader:
        if len(rows) >= MAX_ROWS:
            raise Invalid(f"rows: at most {MAX_ROWS:,} at a time. Paste them in parts.", errors={"rows": ["Too many."]})
        if None in line:
            raise Invalid(f"rows: line {reader.line_num} has more cells than the header.", errors={"rows": ["Too many cells."]})
        rows.append({name: _cell(name, str(value).strip()) for name, value in line.items() if value is not None and str(value).strip()})
    return rows


def _cell(name: str, raw: str) -> Any:
    """The value as the service wants it, or the text itself where it is none: then the service says what is wrong with it."""
    try:
        if name in ("period_start", "period_end"):
            return moment({name: raw}, name)
        if name == "n":
            return whole({name: raw}, name)
        if name in ("value", "numerator", "denominator", "variance"):
            return number({name: raw}, name)
    except Invalid:
        return raw
    return raw


def _paste(actor: Actor, kpi: Kpi, post: Any) -> str:
    given = typed(PASTE, post)
    report = services.record_measurements(actor=actor, kpi_id=kpi.id, rows=read_rows(given["rows"]), mode=given["mode"] or "all")
    said = f"{report.accepted} rows recorded, {report.corrected} corrected, {report.repeated} there already."
    if report.refused:
        told = (f"row {r['row'] + 1}: {', '.join(f'{k}: {w}' for k, w in r['errors'].items())}" for r in report.refused[:5])
        said += f" {len(report.refused)} refused: {'; '.join(told)}"
    return said


def _baseline(actor: Actor, kpi: Kpi, post: Any) -> str:
    given = typed(BASELINE, post)
    start, end = moment(given, "period_start"), moment(given, "period_end")
    if start is None or end is None:
        missing = {name: ["Needed."] for name, value in (("period_start", start), ("period_end", end)) if value is None}
        raise Invalid("Say over which period: from and until.", errors=missing)
    frozen = services.freeze_baseline(
        actor=actor, kpi_id=kpi.id, period_start=start, period_end=end, note=given["note"], attested_value=number(given, "attested_value")
    )
    return f"The baseline is frozen at {measured(frozen.value, kpi.unit)}. Effects are counted from it."


def _worth(actor: Actor, kpi: Kpi, post: Any) -> str:
    given = typed(WORTH, post)
    needed(given, "value_per_unit", "currency")
    try:
        money = Decimal(given["value_per_unit"])
    except InvalidOperation as error:
        raise Invalid("value_per_unit: write a plain amount such as 12.50.", errors={"value_per_unit": ["Not an amount."]}) from error
    services.set_value_conversion(
        actor=actor, kpi_id=kpi.id, value_per_unit=money, currency=given["currency"].upper(), per_n=whole(given, "per_n"), note=given["note"]
    )
    return "Signed off. The value realised is counted with it, from the baseline on."


def _definition(actor: Actor, kpi: Kpi, post: Any) -> str:
    given = typed(KPI, post)
    fields: dict[str, Any] = {f: given[f] for f in ("name", "question", "unit", "direction", "dimension", "aggregation", "cadence", "source")}
    fields |= {"target": number(given, "target"), "floor": number(given, "floor"), "primary": given["primary"] == "on"}
    fields |= {"scale": number(given, "scale") or 1.0, "owner": forms.person(given, "owner") or kpi.owner}
    services.change_kpi(actor=actor, kpi_id=kpi.id, **fields)
    return "The definition is saved."


CHANGES: dict[str, Change] = {
    "record": Change(
        "Record a measurement", "one period", "Record the measurement", lambda kpi: (*PERIOD, *FIGURES[kpi.aggregation], *ABOUT), _record
    ),
    "paste": Change("Paste many measurements", "from a spreadsheet or a CSV file", "Record these rows", lambda kpi: PASTE, _paste),
    "baseline": Change(
        "Freeze a baseline", "from what was measured without a model; it is never changed afterwards", "Freeze the baseline",
        lambda kpi: BASELINE, _baseline,
    ),
    "worth": Change(
        "Sign off what it is worth", "your name stands beside the figure", "Sign off the value", lambda kpi: WORTH, _worth
    ),
    "definition": Change(
        "Change the definition", "once measured, unit, direction and aggregation stay", "Save the definition", lambda kpi: KPI, _definition
    ),
}  # fmt: skip


def stored(kpi: Kpi, key: str) -> dict[str, Any]:
    """What the fields of a form hold before anything is typed."""
    if key == "definition":
        return {f.name: getattr(kpi, f.name) for f in KPI if f.name != "owner"} | {"owner": kpi.owner.email}
    return {"currency": kpi.usecase.currency} if key == "worth" else {}
