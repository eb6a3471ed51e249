"""What the trail keeps of a write: what was, from the portal's own tables, and what is asked for. Figures are counted and digested."""

from collections.abc import Mapping
from typing import Any

from apps.core import sql
from apps.core.canonical import digest_of
from apps.registry import rules
from apps.registry.models import Experiment, ModelVersion, RegisteredModel
from apps.registry.rules.access import plain_names
from apps.registry.rules.findings import bounded
from apps.registry.selectors.access import numbered

MOST_TEXT = 500
_ALIASES = """
    SELECT r.alias, v.version FROM registry_aliasrecord r JOIN registry_modelversion v ON v.id = r.version_id
     WHERE r.model_id = $1 AND r.ended_at IS NULL
"""
# Text that a person wrote or chose, with the values it had before.
WORDS = (
    "description",
    "new_name",
    "stage",
    "status",
    "run_name",
    "end_time",
    "archive_existing_versions",
    "version",
    "alias",
    "source",
    "run_id",
)
# Routes that send one figure, under the names that tags have too.
FIGURES = {"/log-metric": "metrics", "/log-parameter": "params"}
# Long lists of figures: how many there are, and a digest over all of them.
COUNTED = ("metrics", "params", "datasets", "models", "records", "traces", "inputs", "outputs")


def told(
    route: str,
    obj_type: str,
    key: Mapping[str, Any],
    sent: Mapping[str, Any],
    known: ModelVersion | None = None,
    aliases: sql.Rows | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(before, after) of a write to this object, of bounded length. route and obj_type as the trail names them.

    known: the version it names, and aliases: the answer to `asks_aliases`, where somebody has just read them.
    """
    values = plain_names({**sent, **key})
    after: dict[str, Any] = {n: bounded(_word(values[n]), MOST_TEXT) for n in WORDS if isinstance(values.get(n), str | int | bool)}
    before: dict[str, Any] = {}
    if figure := next((figures for ending, figures in FIGURES.items() if route.endswith(ending)), ""):
        after[figure] = _counted([{n: values.get(n) for n in ("key", "value", "timestamp", "step")}])
    elif tags := _tags(values):
        after["tags"] = bounded(tags, MOST_TEXT)
    for name in COUNTED:
        if isinstance(values.get(name), list | Mapping) and values[name]:
            after[name] = _counted(values[name])
    row = known if obj_type == "modelversion" and known is not None else _row(obj_type, values)
    if row is not None:
        before = _before(row, values, after, aliases)
    return before, after


def _word(value: Any) -> Any:
    return value if isinstance(value, bool) or not isinstance(value, int) or abs(value) < 2**53 else str(value)


def _counted(rows: Any) -> dict[str, Any]:
    try:
        return {"count": len(rows), "digest": digest_of(rows)}
    except (ValueError, RecursionError):
        return {"count": len(rows)}


def _tags(values: Mapping[str, Any]) -> dict[str, Any]:
    """Tags set (with their value) or removed (null)."""
    found: dict[str, Any] = {}
    for name in ("key", "tag_key"):
        if isinstance(values.get(name), str):
            found[values[name][:250]] = values["value"] if isinstance(values.get("value"), str) else None
    tags = values.get("tags")
    rows = tags.items() if isinstance(tags, Mapping) else ((t.get("key"), t.get("value")) for t in tags or [] if isinstance(t, Mapping))
    found |= {str(k)[:250]: v if isinstance(v, str) else None for k, v in rows}
    return found


def _row(obj_type: str, values: Mapping[str, Any]) -> Any:
    name, number = values.get("name"), str(values.get("version") or "")
    if obj_type == "modelversion" and isinstance(name, str) and number.isdecimal() and len(number) < 10:
        return numbered(name, int(number))
    if obj_type == "registeredmodel" and isinstance(name, str):
        return RegisteredModel.objects.filter(name=name).first()
    if obj_type == "experiment" and values.get("experiment_id"):
        return Experiment.objects.filter(mlflow_id=str(values["experiment_id"])).first()
    if obj_type == "run" and isinstance(values.get("run_id"), str):
        return ModelVersion.objects.filter(run_id=values["run_id"]).order_by("id").first()
    return None


def asks_aliases(model_id: Any) -> tuple[str, list[Any]]:
    """What asks for a model's aliases: rows of (alias, number of the version)."""
    return _ALIASES, [model_id]


def _before(row: Any, values: Mapping[str, Any], after: Mapping[str, Any], aliases: sql.Rows | None) -> dict[str, Any]:
    """The values that the write would replace, as far as the portal knows them."""
    before: dict[str, Any] = {}
    if "description" in after and hasattr(row, "description"):
        before["description"] = bounded(row.description, MOST_TEXT)
    if "new_name" in after and hasattr(row, "name"):
        before["name"] = row.name
    if "run_name" in after and hasattr(row, "run_name"):
        before["run_name"] = bounded(row.run_name, MOST_TEXT)
    if "tags" in after and hasattr(row, "tags"):
        before["tags"] = {k: bounded(row.tags.get(k), MOST_TEXT) for k in after["tags"]}
    if isinstance(values.get("alias"), str):
        model_id = row.model_id if isinstance(row, ModelVersion) else row.id
        wanted = rules.alias_key(values["alias"])
        aliases = sql.ask(*asks_aliases(model_id)) if aliases is None else aliases
        now = {alias: version for alias, version in aliases if rules.alias_key(alias) == wanted}
        before["aliases"] = now or None
    if isinstance(row, ModelVersion) and not after.keys() - {"version", "run_id", "alias"} and "alias" not in values:
        before |= {"status": row.status, "artifact_digest": row.artifact_digest}
    if isinstance(row, RegisteredModel) and not after:
        before |= {"versions": row.versions.count(), "description": bounded(row.description, MOST_TEXT)}
    return before
