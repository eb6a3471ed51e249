"""Copies one model after the other from an MLflow server to the portal's endpoint; each step can be repeated."""

import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any, Protocol

from gatehouse_cli.mlflow_rest import API, Server, ServerError

STORE = "/api/2.0/mlflow-artifacts/artifacts"
ORIGIN, ORIGIN_RUN, ORIGIN_STAGE, ORIGIN_AT = "imported.from", "imported.run", "imported.stage", "imported.created_at_ms"
# MLflow's own bookkeeping of where files lie, which differs here.
LEFT_BEHIND = ("mlflow.log-model.history", "mlflow.loggedArtifacts", "mlflow.parentRunId", "mlflow.rootRunId")
MOST_IN_BATCH, MOST_PARAMS = 1000, 100


class Problem(Exception):
    """This model cannot be copied; the sentence says why and what to do."""


class Places(Protocol):
    """What the copier remembers, see mlflow_import.State."""

    def get(self, kind: str, source: str) -> str | None:
        """Where it went."""

    def put(self, kind: str, source: str, target: str) -> None:
        """Remember it."""


def _quoted(path: str) -> str:
    return urllib.parse.quote(path, safe="/")


def _text(value: str) -> str:
    """A value inside a filter of MLflow's search."""
    return value.replace("'", "''")


class Copier:
    """Copies from `source` to `target`. Several threads may copy different models at once."""

    def __init__(self, source: Server, target: Server, state: Places, *, run_artifacts: bool = False) -> None:
        self.source, self.target, self.state, self.run_artifacts = source, target, state, run_artifacts
        self._locks: dict[str, threading.Lock] = {}
        self._making = threading.Lock()
        self._last = threading.local()

    def _alone(self, key: str) -> threading.Lock:
        """The lock of one thing, so that two models that share it copy it once."""
        with self._making:
            return self._locks.setdefault(key, threading.Lock())

    # models

    def model(self, row: dict[str, Any]) -> None:
        """Make the registered model, with its description and tags. Problem when the name is taken by another."""
        name = str(row["name"])
        if self.state.get("model", name):
            return
        origin = f"{self.source.url}#{name}"
        tags = [t for t in row.get("tags", []) if t["key"] != ORIGIN] + [{"key": ORIGIN, "value": origin}]
        try:
            body = {"name": name, "description": row.get("description", ""), "tags": tags}
            self.target.send(f"{API}/registered-models/create", body, repeatable=False)
        except ServerError as error:
            if error.code != "RESOURCE_ALREADY_EXISTS" and error.status != 0:
                raise
            found = self.target.get(f"{API}/registered-models/get", name=name)["registered_model"]
            if all((t["key"], t.get("value")) != (ORIGIN, origin) for t in found.get("tags", [])):
                raise Problem("The portal has a model of this name that does not come from there. Rename one of the two.") from error
        self.state.put("model", name, name)

    def aliases(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Set the model's aliases; returns those that are protected and therefore wait for a gate."""
        waiting = []
        for alias in row.get("aliases", []):
            name, number = str(row["name"]), str(alias["version"])
            version = self.state.get("version", f"{name}/{number}")
            if not version or self.state.get("alias", f"{name}@{alias['alias']}") == version:
                continue
            try:
                body = {"name": name, "alias": alias["alias"], "version": version}
                self.target.send(f"{API}/registered-models/alias", body)
                self.state.put("alias", f"{name}@{alias['alias']}", version)
            except ServerError as error:
                if error.status != 403:
                    raise
                waiting.append({"model": name, "alias": alias["alias"], "version": int(version), "detail": str(error)})
        return waiting

    # versions

    def version(self, row: dict[str, Any]) -> int | None:
        """Copy one version with its run and files; returns its bytes, None when an earlier run did it."""
        name, key = str(row["name"]), f"{row['name']}/{row['version']}"
        begun = self.state.get("version", key)
        if begun:
            return None
        origin = f"{self.source.url}#{key}"
        if begun == "" and (number := self._made_version(name, origin)):
            self.state.put("version", key, number)
            return None
        run = self._run(row)
        folder, files = self._files(row)
        root = f"{run['artifact_uri'].removeprefix('mlflow-artifacts:/').strip('/')}/{folder}"
        size = self._upload(run["run_id"], folder, root, files)
        self.state.put("version", key, "")
        body = self._description(row, origin, run, folder)
        made = self.target.send(f"{API}/model-versions/create", body, repeatable=False)["model_version"]
        self.state.put("version", key, str(made["version"]))
        return size

    def _description(self, row: dict[str, Any], origin: str, run: dict[str, Any], folder: str) -> dict[str, Any]:
        own = {ORIGIN: origin, ORIGIN_AT: str(row.get("creation_timestamp", ""))}
        if row.get("current_stage", "None") not in {"None", ""}:
            own[ORIGIN_STAGE] = str(row["current_stage"])
        tags = {t["key"]: t.get("value", "") for t in row.get("tags", [])} | own
        return {
            "name": row["name"], "source": f"{run['artifact_uri']}/{folder}", "run_id": run["run_id"],
            "description": row.get("description", ""), "tags": [{"key": k, "value": v} for k, v in tags.items()],
        }  # fmt: skip

    def _made_version(self, name: str, origin: str) -> str:
        """The number of a version that was made although its answer never came, or ""."""
        rows = self.target.pages(f"{API}/model-versions/search", "model_versions", filter=f"name = '{_text(name)}'", max_results=1000)
        for row in rows:
            if any((t["key"], t.get("value")) == (ORIGIN, origin) for t in row.get("tags", [])):
                return str(row["version"])
        return ""

    # files

    def _files(self, row: dict[str, Any]) -> tuple[str, list[tuple[str, str, int | None]]]:
        """(folder, [(path in it, address at the source, bytes or None)]) of a version's files."""
        where, run_id = str(row.get("source", "")), str(row.get("run_id") or "")
        if where.startswith("models:/m-"):
            model_id = where.removeprefix("models:/").split("/")[0]
            base = f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files?artifact_file_path="
            found = list(self._walk(f"{API}/logged-models/{model_id}/artifacts/directories", "artifact_directory_path", "", {}))
            return f"model-{model_id}", [(p, base + urllib.parse.quote(p, safe=""), s) for p, s in found]
        if run_id:
            info = (self._read_run(run_id) or {"info": {}})["info"]
            root = str(info.get("artifact_uri", "")).rstrip("/")
            where = where if not where.startswith(f"runs:/{run_id}/") else f"{root}/{where.removeprefix(f'runs:/{run_id}/')}"
            if root and (where.rstrip("/") + "/").startswith(f"{root}/") and where.rstrip("/") != root:
                folder = where.rstrip("/").removeprefix(f"{root}/")
                return folder, self._of_run(run_id, folder)
        if where.startswith("mlflow-artifacts:/"):
            root = urllib.parse.urlsplit(where).path.strip("/")
            found = list(self._walk(STORE, "path", root, {}, relative=True))
            return root.rsplit("/", 1)[-1], [(p, f"{STORE}/{_quoted(f'{root}/{p}')}", s) for p, s in found]
        raise Problem(
            f"Version {row['version']}: its files are at {where or 'an unknown place'}, which the server does not list. Log the model to a run "
            "there and register it again, or register it here by hand."
        )

    def _of_run(self, run_id: str, folder: str) -> list[tuple[str, str, int | None]]:
        """Files of a run below a folder ("" for all)."""
        found = self._walk(f"{API}/artifacts/list", "path", folder, {"run_id": run_id})
        ask = f"/get-artifact?run_uuid={run_id}&path="
        cut = f"{folder}/" if folder else ""
        return [(p.removeprefix(cut), ask + urllib.parse.quote(p, safe=""), s) for p, s in found]

    def _walk(
        self, path: str, name: str, folder: str, params: dict[str, str], *, relative: bool = False
    ) -> Iterator[tuple[str, int | None]]:
        """(path, bytes) of every file below a folder, by one of MLflow's three ways to list. `relative`: entries are bare names."""
        waiting = [""] if relative else [folder]
        while waiting:
            below = waiting.pop()
            at = "/".join(x for x in (folder, below) if x) if relative else below
            token = None
            while True:
                page = self.source.get(path, **params, **({name: at} if at else {}), page_token=token)
                for entry in page.get("files", []):
                    full = "/".join(x for x in (below, entry["path"]) if x) if relative else str(entry["path"])
                    if any(part in {"", ".", ".."} for part in full.split("/")):
                        raise Problem(f"The server lists a file with an impossible name: {full!r}.")
                    if entry.get("is_dir"):
                        waiting.append(full)
                    else:
                        yield full, int(entry["file_size"]) if entry.get("file_size") is not None else None
                token = page.get("next_page_token") or None
                if not token:
                    break

    def _upload(self, run_id: str, folder: str, root: str, files: list[tuple[str, str, int | None]]) -> int:
        """Copy the files into the run's folder here, unless that was done for another version of the same run."""
        key = f"{run_id}/{folder}"
        with self._alone(f"folder {key}"):
            if self.state.get("folder", key):
                return 0
            if not files:
                raise Problem(f"There are no files in {folder!r} at the source, so nothing could be served or digested.")
            size = sum(self.source.copy_to(ask, self.target, f"{STORE}/{_quoted(f'{root}/{path}')}", known) for path, ask, known in files)
            self.state.put("folder", key, root)
            return size

    # runs

    def _run(self, row: dict[str, Any]) -> dict[str, Any]:
        """The copy of the version's run: {run_id, artifact_uri}. A version without one gets a run that holds its files."""
        source_id = str(row.get("run_id") or "")
        key = source_id or f"{row['name']}/{row['version']}"
        with self._alone(f"run {key}"):
            known = self.state.get("run", key)
            if known:
                return dict(self.target.get(f"{API}/runs/get", run_id=known)["run"]["info"])
            run = self._read_run(source_id) or {"info": {"run_name": f"files of {key}", "status": "FINISHED"}, "data": {}}
            experiment = self._experiment(str(run["info"].get("experiment_id") or ""))
            info = (self._made_run(experiment, key) if known == "" else None) or self._make_run(key, run, experiment)
            self._fill(info["run_id"], run, source_id)
            if self.run_artifacts and source_id:
                root = info["artifact_uri"].removeprefix("mlflow-artifacts:/").strip("/")
                for path, ask, size in self._of_run(source_id, ""):
                    self.source.copy_to(ask, self.target, f"{STORE}/{_quoted(f'{root}/{path}')}", size)
            self.state.put("run", key, info["run_id"])
            return info

    def _read_run(self, run_id: str) -> dict[str, Any] | None:
        """The run, or None when its version outlived it."""
        if not run_id:
            return None
        # One version asks twice in a row.
        if getattr(self._last, "run_id", None) == run_id:
            return dict(self._last.run)
        try:
            self._last.run = dict(self.source.get(f"{API}/runs/get", run_id=run_id)["run"])
            self._last.run_id = run_id
            return dict(self._last.run)
        except ServerError as error:
            if error.status == 404:
                return None
            raise

    def _make_run(self, key: str, run: dict[str, Any], experiment: str) -> dict[str, Any]:
        info = run["info"]
        tags = {t["key"]: t.get("value", "") for t in run["data"].get("tags", []) if t["key"] not in LEFT_BEHIND}
        tags |= {ORIGIN: self.source.url, ORIGIN_RUN: key}
        self.state.put("run", key, "")
        body = {
            "experiment_id": experiment, "run_name": info.get("run_name", ""), "start_time": info.get("start_time"),
            "tags": [{"key": k, "value": v} for k, v in tags.items()],
        }  # fmt: skip
        body = {k: v for k, v in body.items() if v is not None}
        return dict(self.target.send(f"{API}/runs/create", body, repeatable=False)["run"]["info"])

    def _made_run(self, experiment: str, key: str) -> dict[str, Any] | None:
        """A run that was made although its answer never came."""
        body = {"experiment_ids": [experiment], "filter": f"tags.`{ORIGIN_RUN}` = '{_text(key)}'", "max_results": 1}
        rows = self.target.send(f"{API}/runs/search", body).get("runs", [])
        return dict(rows[0]["info"]) if rows else None

    def _fill(self, run_id: str, run: dict[str, Any], source_id: str) -> None:
        """Parameters, every point of every metric, datasets, and the end. Repeating it adds nothing: MLflow keeps equal points once."""
        data = run.get("data", {})
        params = list(data.get("params", []))
        points = [p for m in data.get("metrics", []) for p in self._history(source_id, m)]
        # Both in one call as long as they fit: most runs need one.
        while params or points:
            body = {"run_id": run_id, "params": params[:MOST_PARAMS], "metrics": points[: MOST_IN_BATCH - MOST_PARAMS]}
            self.target.send(f"{API}/runs/log-batch", {k: v for k, v in body.items() if v})
            params, points = params[MOST_PARAMS:], points[MOST_IN_BATCH - MOST_PARAMS :]
        if inputs := run.get("inputs", {}).get("dataset_inputs"):
            # MLflow keeps a dataset once an experiment, and refuses one of two that come at the same moment.
            with self._alone("datasets"):
                self.target.send(f"{API}/runs/log-inputs", {"run_id": run_id, "datasets": inputs})
        end = {"run_id": run_id, "status": run["info"].get("status") or "FINISHED", "end_time": run["info"].get("end_time")}
        self.target.send(f"{API}/runs/update", {k: v for k, v in end.items() if v is not None})

    def _history(self, run_id: str, metric: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for point in self.source.pages(f"{API}/metrics/get-history", "metrics", run_id=run_id, metric_key=metric["key"], max_results=25000):
            yield {k: point[k] for k in ("key", "value", "timestamp", "step") if k in point}

    def _experiment(self, source_id: str) -> str:
        """Id here of the experiment that stands for the source's."""
        with self._alone("experiments"):
            known = self.state.get("experiment", source_id)
            if known:
                return known
            name = "Imported"
            if source_id:
                row = self.source.get(f"{API}/experiments/get", experiment_id=source_id)["experiment"]
                name = f"Imported: {row['name']}"
            tags = [{"key": ORIGIN, "value": f"{self.source.url}#{source_id}"}]
            try:
                body = {"name": name, "tags": tags}
                made = str(self.target.send(f"{API}/experiments/create", body, repeatable=False)["experiment_id"])
            except ServerError as error:
                if error.code != "RESOURCE_ALREADY_EXISTS" and error.status != 0:
                    raise
                made = str(self.target.get(f"{API}/experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"])
            self.state.put("experiment", source_id, made)
            return made
