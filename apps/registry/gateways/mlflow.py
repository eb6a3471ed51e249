"""What MLflow says of models, versions and runs, turned into facts. Called outside transactions only."""

import contextlib
import json
import logging
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import yaml

from apps.core.clock import now
from apps.core.errors import NotFound, UpstreamFailed
from apps.registry.gateways import artifacts
from apps.registry.gateways.http import call, text
from apps.registry.rules import DatasetFacts, VersionFacts, artifact_root_of
from apps.registry.rules.access import experiment_of_path
from apps.registry.rules.findings import ModelFacts
from celery_worker.orders import digest_of_manifest

log = logging.getLogger(__name__)
API = "/api/2.0/mlflow"
MOST_TEXT = 2_000
MOST_BESIDE_FILES, MOST_BESIDE_BYTES = 1_000, 1024 * 1024 * 1024
STATES = {"READY": "ready", "PENDING_REGISTRATION": "pending", "FAILED_REGISTRATION": "failed"}


def read_version(name: str, version: int, *, files: bool = True) -> VersionFacts:
    """One whole reading of a version, its run and all of its files. NotFound when MLflow has none; UpstreamFailed when it cannot say.

    A version whose files cannot be governed (none there, no MLmodel, outside the store) comes back `failed` with the reason.
    Without `files` nothing is read of them: digest, signature and requirements are empty.
    """
    read_at = now()
    row = call("GET", f"{API}/model-versions/get", params={"name": name, "version": str(version)})["model_version"]
    model = call("GET", f"{API}/registered-models/get", params={"name": name})["registered_model"]
    run = _run(str(row.get("run_id") or ""))
    facts: dict[str, Any] = {
        "name": str(row["name"]),
        "version": int(row["version"]),
        "state": STATES.get(str(row.get("status", "READY")), "pending"),
        "detail": _text(row.get("status_message", "")),
        "run_id": str(row.get("run_id") or ""),
        "experiment_id": str(run.get("info", {}).get("experiment_id") or "")[:64],
        "source": _text(row.get("source", "")),
        "description": _text(row.get("description", ""), 20_000),
        "tags": _pairs(run.get("data", {}).get("tags")) | _pairs(row.get("tags")),
        "run_name": _text(run.get("info", {}).get("run_name", ""), 500),
        "params": _pairs(run.get("data", {}).get("params")) or _pairs(row.get("params")),
        "metrics": _metrics(run.get("data", {}).get("metrics")) or _metrics(row.get("metrics")),
        "datasets": _datasets(run),
        "model_description": _text(model.get("description", ""), 20_000),
        "model_tags": _pairs(model.get("tags")),
        "registered_at": _moment(row.get("creation_timestamp")),
        "read_at": read_at,
    }
    if facts["state"] == "ready" and files:
        facts |= _files(name, version)
        facts["experiment_id"] = facts["experiment_id"] or experiment_of_path(facts.get("artifact_root", ""))
        facts |= _beside(facts)
    return VersionFacts(**facts)


def server_version() -> str:
    """Version of the server that answers, such as 3.17.2; "" when it does not say."""
    return text("/version")[:60]


def artifact_root(name: str, version: int) -> str:
    """Folder of the version inside the artifact store, or "" when its files lie elsewhere."""
    uri = call("GET", f"{API}/model-versions/get-download-uri", params={"name": name, "version": str(version)}).get("artifact_uri", "")
    return artifact_root_of(str(uri))


def sizes(root: str) -> dict[str, int]:
    """Path -> bytes of every file of a version: a cheap look before all of them are read."""
    return artifacts.list_files(root)


def sizes_beside(experiment_id: str, run_id: str, root: str) -> dict[str, int]:
    """The same of the other files in the folder of the version's run; {} when it has none."""
    folder = f"{experiment_id}/{run_id}/artifacts"
    if not experiment_id or not run_id:
        return {}
    own = f"{root.removeprefix(folder).strip('/')}/" if root.startswith(f"{folder}/") else None
    return {p: n for p, n in artifacts.list_files(folder).items() if own is None or not p.startswith(own)}


def _beside(facts: dict[str, Any]) -> dict[str, Any]:
    """What lies beside the version's own folder, read whole; or why it cannot be: it is too much to be read each time, or is not to be listed."""
    folder = f"{facts['experiment_id']}/{facts['run_id']}/artifacts"
    try:
        found = sizes_beside(facts["experiment_id"], facts["run_id"], facts.get("artifact_root", ""))
        if len(found) > MOST_BESIDE_FILES or sum(found.values()) > MOST_BESIDE_BYTES:
            return {"beside_unread": f"they are more than {MOST_BESIDE_FILES:,} files, or than {MOST_BESIDE_BYTES >> 30} GiB"}
        return {"beside": found, "beside_digest": digest_of_manifest({"files": {p: artifacts.digest(folder, p) for p in found}})}
    except UpstreamFailed as error:
        log.warning("files beside %s/%s were not read: %s", facts["name"], facts["version"], error.detail)
        return {"beside_unread": "they could not be listed or read"}


def read_model(name: str) -> ModelFacts:
    """What MLflow says of one registered model now; NotFound when it has none."""
    return _model(call("GET", f"{API}/registered-models/get", params={"name": name})["registered_model"])


def _model(row: dict[str, Any]) -> ModelFacts:
    return ModelFacts(
        name=str(row["name"]),
        description=_text(row.get("description", ""), 20_000),
        tags=_pairs(row.get("tags")),
        aliases={str(a["alias"]): int(a["version"]) for a in row.get("aliases") or []},
        registered_at=_moment(row.get("creation_timestamp")),
    )


def all_models() -> Iterator[ModelFacts]:
    """Every registered model MLflow has, prompts too."""
    # A search leaves prompts out unless it asks for them.
    for chosen in ("", "tags.`mlflow.prompt.is_prompt` = 'true'"):
        for page in _pages(f"{API}/registered-models/search", {"filter": chosen} if chosen else {}):
            yield from map(_model, page.get("registered_models", []))


def delete_alias(name: str, alias: str) -> None:
    """Let the alias point at nothing; an alias that is not there is no error."""
    with contextlib.suppress(NotFound):
        call("DELETE", f"{API}/registered-models/alias", json={"name": name, "alias": alias})


def _pages(path: str, params: dict[str, str]) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        page = call("GET", path, params={"max_results": "1000"} | params | ({"page_token": token} if token else {}))
        yield page
        token = str(page.get("next_page_token") or "")
        if not token:
            return


def set_alias(name: str, alias: str, version: int) -> None:
    """Point the alias at the version in MLflow; doing it again changes nothing."""
    call("POST", f"{API}/registered-models/alias", json={"name": name, "alias": alias, "version": str(version)})


def all_versions() -> Iterator[tuple[str, int]]:
    """(name, version) of every model version MLflow has, newest first."""
    for page in _pages(f"{API}/model-versions/search", {}):
        yield from ((str(v["name"]), int(v["version"])) for v in page.get("model_versions", []))


def _files(name: str, version: int) -> dict[str, Any]:
    """Digest, flavour, signature and requirements from the version's folder, or state failed with the reason."""
    root = artifact_root(name, version)
    if not root:
        return {"state": "failed", "detail": "The files lie outside the portal's artifact store, so they cannot be digested."}
    manifest, sizes = artifacts.manifest(root)
    read: dict[str, Any] = {"artifact_root": root, "manifest": manifest, "sizes": sizes, "digest": digest_of_manifest(manifest)}
    if "MLmodel" not in manifest["files"]:
        return {**read, "state": "failed", "detail": "There is no MLmodel file at the version's source, so it cannot be served."}
    try:
        described = yaml.safe_load(artifacts.read_text(root, "MLmodel", most_bytes=2_000_000))
        flavors = [str(f) for f in described.get("flavors") or {}]
        signature = _signature(described.get("signature") or {})
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError) as error:
        return {**read, "state": "failed", "detail": f"The MLmodel file cannot be read ({type(error).__name__})."}
    native = [f for f in flavors if f != "python_function"]
    requirements = "requirements.txt"
    return {
        **read,
        "flavor": (native or flavors or [""])[0][:60],
        "flavors": tuple(flavors),
        "signature": signature,
        "requirements": artifacts.read_text(root, requirements, most_bytes=500_000) if requirements in sizes else "",
    }


def _signature(described: dict[str, Any]) -> dict[str, Any]:
    """MLmodel's signature (JSON texts) as {"inputs": [{"name", "type", ...}], "outputs": [...]}."""
    return {side: [_column(c) for c in json.loads(described[side])] for side in ("inputs", "outputs") if described.get(side)}


def _column(column: dict[str, Any]) -> dict[str, Any]:
    spec = column.get("tensor-spec") or {}
    kept: dict[str, Any] = {"name": _text(column.get("name", ""), 500), "type": str(spec.get("dtype") or column.get("type", ""))}
    if spec:
        kept["shape"] = spec.get("shape")
    if "required" in column:
        kept["required"] = bool(column["required"])
    return kept


def _run(run_id: str) -> dict[str, Any]:
    if not run_id:
        return {}
    try:
        return dict(call("GET", f"{API}/runs/get", params={"run_id": run_id})["run"])
    except NotFound:
        return {}


def _datasets(run: dict[str, Any]) -> tuple[DatasetFacts, ...]:
    out = []
    for entry in (run.get("inputs") or {}).get("dataset_inputs", []):
        data, tags = entry.get("dataset", {}), _pairs(entry.get("tags"))
        out.append(
            DatasetFacts(
                name=_text(data.get("name", ""), 500),
                digest=str(data.get("digest", ""))[:64],
                source_type=str(data.get("source_type", ""))[:60],
                source=_text(data.get("source", ""), 20_000),
                schema=_object(data.get("schema")),
                profile=_object(data.get("profile")),
                context=tags.get("mlflow.data.context", "")[:100],
            )
        )
    return tuple(sorted(out, key=lambda d: (d.context, d.name, d.digest)))


def _object(text: Any) -> dict[str, Any]:
    """A JSON object given as text; {} for anything else."""
    try:
        value = json.loads(str(text or "{}").replace("\\u0000", ""), parse_constant=lambda _: None)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _pairs(rows: Any) -> dict[str, str]:
    """MLflow's key and value rows as a dict; MLflow's own long histories are left out."""
    return {_text(r["key"], 250): _text(r.get("value", "")) for r in rows or [] if not str(r["key"]).startswith("mlflow.log-model")}


def _metrics(rows: Any) -> dict[str, float | None]:
    """The last value of each metric; what is not finite becomes null."""
    out: dict[str, float | None] = {}
    for row in rows or []:
        try:
            value = float(row.get("value", 0.0))
        except (TypeError, ValueError) as error:
            raise UpstreamFailed("MLflow gave a metric that is not a number.") from error
        out[_text(row["key"], 250)] = value if math.isfinite(value) else None
    return out


def _text(value: Any, most: int = MOST_TEXT) -> str:
    """Text that PostgreSQL can hold, of bounded length."""
    return str(value or "").replace("\x00", "")[:most]


def _moment(milliseconds: Any) -> datetime | None:
    return datetime.fromtimestamp(int(milliseconds) / 1000, tz=UTC) if milliseconds else None
