"""OpenLineage run events: what we say of a version, and what others may say of a run. Pure.

Names of fields and the order of things are those of the specification 2-0-2 (https://openlineage.io/spec/2-0-2/OpenLineage.json).
A run of MLflow has a UUID as its id, written without dashes; `runId` is the same with them.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from apps.core.errors import Invalid

SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
RUN_EVENT = f"{SPEC}#/$defs/RunEvent"
FACETS = {
    "version": "https://openlineage.io/spec/facets/1-0-0/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "schema": "https://openlineage.io/spec/facets/1-0-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
    "dataSource": "https://openlineage.io/spec/1-0-1/DatasourceDatasetFacet.json#/$defs/DatasourceDatasetFacet",
    "dataset": f"{SPEC}#/$defs/DatasetFacet",
    "input": f"{SPEC}#/$defs/InputDatasetFacet",
}
EVENT_TYPES = ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
OWN = "gatehouse"
MOST_DATASETS = 500
MOST_BYTES = 1_000_000
UNVERSIONED = "unversioned"


@dataclass(frozen=True, slots=True)
class Named:
    """A dataset as an event names it. version: of the version facet, else `unversioned`; columns: of the schema facet."""

    namespace: str
    name: str
    version: str = UNVERSIONED
    columns: tuple[tuple[str, str], ...] = ()
    uri: str = ""

    @property
    def known_as(self) -> str:
        """Its name in the registry: ours as it is, others with their namespace."""
        return self.name if self.namespace == OWN else f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What one event says of a run. run_id: as MLflow writes it."""

    run_id: str
    job_namespace: str
    job_name: str
    event_type: str
    event_at: datetime
    producer: str
    inputs: tuple[Named, ...] = field(default=())
    outputs: tuple[Named, ...] = field(default=())


def run_uuid(run_id: str) -> str:
    """The `runId` of an MLflow run; one that is no UUID gets a UUID of its own, always the same."""
    try:
        return str(uuid.UUID(hex=run_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"mlflow-run:{run_id}"))


def read_event(event: Any) -> RunFacts:
    """One run event; Invalid names the field and what to write."""
    if not isinstance(event, dict):
        raise _wrong("event", "one run event, a JSON object")
    try:
        size, text = len(json.dumps(event)), json.dumps(event, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise _wrong("event", "plain JSON without NaN or Infinity") from error
    if size > MOST_BYTES or "\\u0000" in text:
        raise _wrong("event", f"at most {MOST_BYTES // 1_000_000} MB of JSON without NUL characters")
    kind = event.get("eventType", "")
    if kind and kind not in EVENT_TYPES:
        raise _wrong("eventType", f"one of {', '.join(EVENT_TYPES)}")
    run, job = _object(event, "run"), _object(event, "job")
    try:
        run_id = uuid.UUID(str(run.get("runId"))).hex
    except ValueError as error:
        raise _wrong("run.runId", "a UUID; of an MLflow run its id") from error
    _uri(event, "schemaURL")
    return RunFacts(
        run_id=run_id, job_namespace=_text(job, "namespace", "job."), job_name=_text(job, "name", "job."), event_type=str(kind),
        event_at=_moment(event), producer=_uri(event, "producer"), inputs=_datasets(event, "inputs"), outputs=_datasets(event, "outputs"),
    )  # fmt: skip


def _datasets(event: Mapping[str, Any], side: str) -> tuple[Named, ...]:
    rows = event.get(side, [])
    if not isinstance(rows, list) or len(rows) > MOST_DATASETS:
        raise _wrong(side, f"a list of at most {MOST_DATASETS} datasets")
    out = []
    for index, row in enumerate(rows):
        at = f"{side}[{index}]"
        if not isinstance(row, dict):
            raise _wrong(at, "an object with namespace and name")
        facets = row.get("facets") or {}
        if not isinstance(facets, dict) or not all(isinstance(f, dict) for f in facets.values()):
            raise _wrong(f"{at}.facets", "an object of facets")
        for name, facet in facets.items():
            for needed in ("_producer", "_schemaURL"):
                _uri(facet, needed, f"{at}.facets.{name}.")
        made = Named(
            _text(row, "namespace", f"{at}.", 200), _text(row, "name", f"{at}.", 290), _version(facets, at), _columns(facets, at),
            str((facets.get("dataSource") or {}).get("uri") or "")[:2_000],
        )  # fmt: skip
        out.append(made)
    return tuple(dict.fromkeys(out))


def _version(facets: Mapping[str, Any], at: str) -> str:
    if "version" not in facets:
        return UNVERSIONED
    return _text(facets["version"], "datasetVersion", f"{at}.facets.version.", 64)


def _columns(facets: Mapping[str, Any], at: str) -> tuple[tuple[str, str], ...]:
    rows = (facets.get("schema") or {}).get("fields") or []
    if not isinstance(rows, list) or not all(isinstance(r, dict) and isinstance(r.get("name"), str) for r in rows):
        raise _wrong(f"{at}.facets.schema.fields", "a list of objects, each with a name")
    return tuple((r["name"][:500], str(r.get("type") or "")[:100]) for r in rows[:2_000])


def _object(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = event.get(name)
    if not isinstance(value, dict):
        raise _wrong(name, "an object; it is needed")
    return value


def _text(row: Mapping[str, Any], name: str, inside: str = "", most: int = 500) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise _wrong(f"{inside}{name}", f"text of 1 to {most} characters; it is needed")
    return value


def _uri(row: Mapping[str, Any], name: str, inside: str = "") -> str:
    value = row.get(name)
    try:
        good = isinstance(value, str) and len(value) <= 2_000 and bool(urlsplit(value).scheme)
    except ValueError:
        good = False
    if not good:
        raise _wrong(f"{inside}{name}", "a URI; it is needed")
    return str(value)


def _moment(event: Mapping[str, Any]) -> datetime:
    try:
        moment = datetime.fromisoformat(str(event.get("eventTime")))
    except ValueError as error:
        raise _wrong("eventTime", "a moment such as 2026-03-01T08:00:00Z; it is needed") from error
    if moment.tzinfo is None:
        raise _wrong("eventTime", "a moment with its zone, such as 2026-03-01T08:00:00Z")
    return moment.astimezone(UTC)


def _wrong(at: str, wanted: str) -> Invalid:
    return Invalid(f"{at}: give {wanted}.", errors={at: [f"Give {wanted}."]})


def run_events(
    *, base_url: str, model: str, version: int, run_id: str, digest: str, at: datetime, inputs: Iterable[tuple[Mapping[str, Any], str]]
) -> list[dict[str, Any]]:
    """A START and a COMPLETE event of the run that made a version: its datasets in, the version out.

    inputs: (dataset as {name, digest, source_type, source, schema}, context). MLflow's registry does not say when the run began: both
    events bear the moment of registration, `at`.
    """
    producer = f"{base_url}/"

    def facet(kind: str, **values: Any) -> dict[str, Any]:
        return {"_producer": producer, "_schemaURL": FACETS[kind], **values}

    read = []
    for dataset, context in inputs:
        facets = {"version": facet("version", datasetVersion=dataset["digest"])}
        if columns := schema_columns(dataset["schema"]):
            facets["schema"] = facet("schema", fields=[{"name": n, **({"type": t} if t else {})} for n, t in columns])
        if uri := source_uri(dataset["source"]):
            facets["dataSource"] = facet("dataSource", name=dataset["source_type"] or "source", uri=uri)
        row: dict[str, Any] = {"namespace": OWN, "name": dataset["name"], "facets": facets}
        if context:
            row["inputFacets"] = {"gatehouse_context": facet("input", context=context)}
        read.append(row)
    made = {
        "namespace": f"{OWN}:models", "name": model,
        "facets": {"version": facet("version", datasetVersion=str(version)), "gatehouse_artifact": facet("dataset", digest=digest)},
    }  # fmt: skip
    common = {
        "eventTime": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "run": {"runId": run_uuid(run_id or f"{model}/{version}")},
        "job": {"namespace": OWN, "name": f"train {model}"},
        "producer": producer,
        "schemaURL": RUN_EVENT,
    }
    return [
        {"eventType": "START", **common, "inputs": read, "outputs": []},
        {"eventType": "COMPLETE", **common, "inputs": read, "outputs": [made]},
    ]


def source_uri(source: str) -> str:
    """The address inside MLflow's JSON text of a source, or "" when it holds none."""
    try:
        told = json.loads(source or "{}")
    except ValueError:
        return ""
    found = next((told[k] for k in ("uri", "url", "path") if isinstance(told.get(k), str)), "") if isinstance(told, dict) else ""
    return str(found) if "://" in str(found) else ""


def schema_columns(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, type) of MLflow's schema of a dataset, whichever of its shapes it has."""
    rows = schema.get("mlflow_colspec") or schema.get("columns") or schema.get("fields") or []
    return [(str(r.get("name") or ""), str(r.get("type") or "")) for r in rows if isinstance(r, Mapping) and r.get("name")]
