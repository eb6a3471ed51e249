"""What is frozen of a version, how two readings differ, and what should become of an alias. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.core.canonical import plain
from apps.registry import rules

# kind of a finding -> what it says
KINDS = {
    "files": "The files of a version are not those that were digested",
    "facts": "Parameters, metrics, tags, data, requirements or signature differ from what was frozen",
    "beside": "Files beside a version, in the folder of its run, are not those that were frozen",
    "alias": "A protected alias points where no decision says",
    "model": "A model that decisions name was renamed or deleted",
    "tag": "A tag says what only a decision says",
}
# The same where there was nothing to compare: the reading is what failed.
UNREAD = {"beside": "Files beside a version, in the folder of its run, cannot be compared with those that were frozen"}
# What belongs to the run and its version, and what is read out of the files.
FROM_MLFLOW = ("params", "metrics", "tags", "datasets")
FROM_FILES = ("artifact_digest", "requirements", "signature")
BESIDE = ("beside", "beside_digest")
MOST_TEXT, MOST_ROWS = 300, 50


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One reading of a registered model. aliases: alias -> version number; registered_at: MLflow's own moment, kept through renames."""

    name: str
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    registered_at: datetime | None = None


def says(kind: str, found: Mapping[str, Any]) -> str:
    """What a finding says: that something differs, or that it could not be read and so cannot be compared."""
    return (UNREAD.get(kind) if is_unread(found) else None) or KINDS.get(kind, kind)


def is_unread(found: Mapping[str, Any]) -> bool:
    """Whether what was found is that nothing could be read."""
    return any(name.endswith("_unread") for name in found)


def frozen_facts(
    *,
    artifact_digest: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, Any],
    tags: Mapping[str, str],
    datasets: Iterable[tuple[str, str, str]],
    requirements: str,
    signature: Mapping[str, Any],
    beside: Mapping[str, int],
    beside_digest: str,
) -> dict[str, Any]:
    """The canonical facts of a version; datasets as (context, name, digest), beside as path -> bytes of the run's other files. Tags that speak of decisions are no facts of the run."""
    found: dict[str, Any] = plain(
        {
            "artifact_digest": artifact_digest,
            "params": dict(params),
            "metrics": dict(metrics),
            "tags": {k: v for k, v in tags.items() if not rules.is_evidence_tag(k)},
            "datasets": sorted([list(row) for row in datasets]),
            "requirements": requirements,
            "signature": dict(signature),
            "beside": dict(beside),
            "beside_digest": beside_digest,
        }
    )
    return found


def differences(frozen: Mapping[str, Any], found: Mapping[str, Any], fields: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(expected, found) of what differs in these fields, key by key where the field is a mapping; both {} when nothing does."""
    expected: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    for name in fields:
        was, now = frozen.get(name), found.get(name)
        if was == now:
            continue
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            keys = [k for k in sorted({*was, *now}) if was.get(k) != now.get(k) or (k in was) != (k in now)][:MOST_ROWS]
            expected[name] = {k: bounded(was[k]) for k in keys if k in was}
            seen[name] = {k: bounded(now[k]) for k in keys if k in now}
        else:
            expected[name], seen[name] = bounded(was), bounded(now)
    return expected, seen


def bounded(value: Any, most: int = MOST_TEXT) -> Any:
    """A value short enough for the trail: long text is cut, long lists are counted."""
    if isinstance(value, str):
        return value if len(value) <= most else f"{value[:most]}... ({len(value):,} characters)"
    if isinstance(value, Mapping):
        rows = {str(k)[:250]: bounded(v, most) for k, v in list(value.items())[:MOST_ROWS]}
        return rows if len(value) <= MOST_ROWS else rows | {"...": f"{len(value):,} in all"}
    if isinstance(value, list | tuple):
        items = [bounded(v, most) for v in list(value)[:MOST_ROWS]]
        return items if len(value) <= MOST_ROWS else [*items, f"... {len(value):,} in all"]
    return value


def words_of(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Which fields, and which keys in them, differ, for a sentence."""
    parts = []
    for name in expected:
        keys = sorted({*expected[name], *found[name]}) if isinstance(expected[name], dict) and isinstance(found[name], dict) else []
        named = f" ({', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''})" if keys else ""
        parts.append(f"{name.replace('_', ' ')}{named}")
    return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Settled:
    """What to do about a protected alias. record: write down that it points there, with the decision. put_back: set it so in MLflow
    (None: remove it there). finding: say so."""

    record: bool = False
    put_back: bool = False
    finding: bool = False


def settle_protected(*, expected: int | None, found: int | None, found_is_decided: bool, first_met: bool) -> Settled:
    """A protected alias is where the portal recorded it (`expected`) unless MLflow's version (`found`) has a live decision of its own.

    first_met: the model has not been read before, so nobody can say what is right: what is there stays, with a finding.
    """
    if expected == found:
        return Settled()
    if found is not None and found_is_decided:
        return Settled(record=True)
    if first_met and expected is None:
        return Settled(record=True, finding=True)
    return Settled(put_back=True, finding=True)
