"""The forms of monitors: their fields, and how what was typed becomes the arguments of one service."""

from collections.abc import Mapping, Sequence
from typing import Any

from apps.core.errors import Invalid
from apps.core.fields import Field, moment, needed, number, typed
from apps.kpis.models import Kpi
from apps.monitoring.models import Monitor
from apps.monitoring.rules.settings import METRICS_OF, SETTINGS, Setting
from apps.monitoring.web.wording import METRICS

# (setting, label) in the order of the form; what is not named here keeps its default.
ASKED: dict[str, tuple[tuple[str, str], ...]] = {
    "drift": (
        ("psi_bound", "A feature has drifted from"),
        ("drifted_share", "Incident from this share of features"),
        ("bins", "Bins of the reference"),
        ("min_rows", "Rows a window needs"),
        ("max_age_s", "Close a window after (seconds)"),
    ),
    "cost": (
        ("miss_cost", "A missed event costs"),
        ("false_alarm_cost", "A false alarm costs"),
        ("bound_per_1k", "Bound: dearer per 1,000 by"),
        ("min_pairs", "Rows both versions must have answered"),
        ("confidence", "Confidence of the interval"),
        ("min_rows", "Rows a window needs"),
    ),
    "latency": (("p99_ms", "99 of 100 answers within (ms)"), ("min_rows", "Requests a window needs")),
}
CAPTURED = "captured"
BACK = Field(
    "auto_roll_back", "When it is worse", "select", required=True,
    choices=(("1", "open an incident and go back by itself"), ("0", "open an incident and wait for a person")),
)  # fmt: skip


def fields_of(kind: str, *, currency: str, kpis: Sequence[Kpi], references: Sequence[Monitor]) -> list[Field]:
    """The form of one kind."""
    out = []
    if kind == "drift":
        others = tuple((str(m.id), f"the same as {m.name}, {m.endpoint.name}") for m in references)
        out = [
            Field(
                "reference",
                "Reference",
                "select",
                required=True,
                wide=True,
                choices=((CAPTURED, "traffic captured in the time below"), *others),
            ),
            Field("since", "Calm time, from (UTC)", "datetime-local", hint="Whole traffic of this endpoint in that time."),
            Field("until", "Calm time, until (UTC)", "datetime-local", hint="Not included."),
        ]
    out += [_field(name, label, SETTINGS[kind][name], currency) for name, label in ASKED[kind]]
    if kind == "cost":
        out.append(BACK)
    if METRICS_OF[kind] and kpis:
        choices = (("", "no KPI"), *((k.slug, k.name) for k in kpis))
        out += [Field(f"kpi_{m}", f"Feeds: {METRICS[m]}", "select", choices=choices) for m in METRICS_OF[kind]]
    return out


def _field(name: str, label: str, setting: Setting, currency: str) -> Field:
    inside = (
        "Share between 0 and 1. " if name == "drifted_share" else f"In {currency}. " if "cost" in name or name == "bound_per_1k" else ""
    )
    default = "" if setting.default is None else f" Usual: {setting.default:g}."
    return Field(
        name,
        label,
        "number",
        required=setting.default is None,
        hint=f"{inside}{setting.meaning[:1].upper()}{setting.meaning[1:]}.{default}",
    )


def stored(kind: str, monitor: Monitor | None, *, span: tuple[str, str]) -> dict[str, Any]:
    """What the form shows before anything was typed: the settings of the monitor it would replace, or the usual ones."""
    config: Mapping[str, Any] = monitor.config if monitor else {n: s.default for n, s in SETTINGS[kind].items()}
    values = {name: config.get(name) for name, _ in ASKED[kind]} | {"auto_roll_back": str(int(config.get("auto_roll_back", 1) or 0))}
    values |= {"reference": CAPTURED, "since": span[0], "until": span[1]}
    return values | {f"kpi_{metric}": slug for metric, slug in config.get("kpis", {}).items()}


def arguments(kind: str, fields: Sequence[Field], post: Mapping[str, Any], before: Monitor | None) -> dict[str, Any]:
    """`config` and `reference` for create_monitor. Settings the form does not ask keep what they were. Raises Invalid."""
    given = typed(fields, post)
    needed(given, *(f.name for f in fields if f.required))
    asked = [name for name, _ in ASKED[kind]]
    config: dict[str, Any] = {n: v for n, v in (before.config if before else {}).items() if n in SETTINGS[kind] and n not in asked}
    config |= {name: value for name in asked if (value := number(given, name)) is not None}
    if kind == "cost":
        config["auto_roll_back"] = int(given["auto_roll_back"] == "1")
    config["kpis"] = {m: slug for m in METRICS_OF[kind] if (slug := given.get(f"kpi_{m}", ""))}
    if kind != "drift":
        return {"config": config}
    if given["reference"] != CAPTURED:
        return {"config": config, "reference": {"monitor": given["reference"]}}
    since, until = moment(given, "since"), moment(given, "until")
    if since is None or until is None or since >= until:
        raise Invalid(
            "since, until: give the time whose traffic was calm, its end after its beginning.", errors={"since": ["No time span."]}
        )
    return {"config": config, "reference": {"since": since, "until": until}}


def named_as_typed(error: Invalid) -> Invalid:
    """The service's refusal with the names of the form's fields."""
    errors = {}
    for name, sentences in error.errors.items():
        bare = name.removeprefix("config.").removeprefix("reference.")
        errors[bare.replace("kpis.", "kpi_")] = sentences
    return Invalid(error.detail.replace("config.", "").replace("reference.", ""), errors=errors)
