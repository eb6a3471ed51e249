"""Where a run, logged model or trace belongs. A thing never moves to another experiment, so each answer is kept in the process."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any
from urllib.parse import quote

from apps.core.errors import NotFound
from apps.registry.gateways.http import call

API, API3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
KEPT = 50_000


class _Known:
    """The last answers, oldest dropped first."""

    def __init__(self, most: int) -> None:
        self._rows: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def get(self, kind: str, key: str, ask: Callable[[], str]) -> str:
        with self._lock:
            if (kind, key) in self._rows:
                self._rows.move_to_end((kind, key))
                return self._rows[kind, key]
        found = ask()
        self.put(kind, key, found)
        return found

    def put(self, kind: str, key: str, found: str) -> None:
        with self._lock:
            self._rows[kind, key] = found
            while len(self._rows) > self._most:
                self._rows.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()


_known = _Known(KEPT)
forget = _known.clear


def note(kind: str, key: str, experiment_id: str) -> None:
    """Keep what an answer of MLflow has just said: kind `run`, `loggedmodel` or `trace`."""
    if key and experiment_id:
        _known.put(kind, key, experiment_id)


def run(run_id: str) -> str:
    """Experiment of a run. Raises NotFound, UpstreamFailed."""
    return _known.get("run", run_id, lambda: str(call("GET", f"{API}/runs/get", params={"run_id": run_id})["run"]["info"]["experiment_id"]))


def logged_model(model_id: str) -> str:
    """Experiment of a logged model (`m-...`)."""
    where = f"{API}/logged-models/{quote(model_id, safe='')}"
    return _known.get("loggedmodel", model_id, lambda: str(call("GET", where)["model"]["info"]["experiment_id"]))


def trace(trace_id: str) -> str:
    """Experiment of a trace."""
    return _known.get("trace", trace_id, lambda: _trace(trace_id))


def _trace(trace_id: str) -> str:
    info: dict[str, Any] = call("GET", f"{API3}/traces/{quote(trace_id, safe='')}").get("trace", {}).get("trace_info", {})
    found = info.get("trace_location", {}).get("mlflow_experiment", {}).get("experiment_id")
    if not found:
        raise NotFound("The trace belongs to no experiment of this portal.")
    return str(found)


def label_schema(schema_id: str) -> str:
    """Experiment of a label schema."""
    return _known.get("labelschema", schema_id, lambda: _of("label-schemas/get", "label_schema", schema_id=schema_id))


def review_queue(queue_id: str) -> str:
    """Experiment of a review queue."""
    return _known.get("reviewqueue", queue_id, lambda: _of("review-queues/get", "review_queue", queue_id=queue_id))


def issue(issue_id: str) -> str:
    """Experiment of an issue."""
    return _known.get("issue", issue_id, lambda: _of(f"issues/{quote(issue_id, safe='')}", "issue"))


def _of(path: str, name: str, **params: str) -> str:
    return str(call("GET", f"{API3}/{path}", params=params)[name]["experiment_id"])


# How each is found by its own id.
BY_ID: dict[str, tuple[str, Callable[[str], str]]] = {
    "run": ("run_id", run),
    "loggedmodel": ("model_id", logged_model),
    "trace": ("trace_id", trace),
    "labelschema": ("schema_id", label_schema),
    "reviewqueue": ("queue_id", review_queue),
    "issue": ("issue_id", issue),
}


def experiment_named(name: str) -> str:
    """Experiment of this name now (a name may pass to another, so it is asked each time)."""
    return str(call("GET", f"{API}/experiments/get-by-name", params={"experiment_name": name})["experiment"]["experiment_id"])


def dataset(dataset_id: str) -> list[str]:
    """Experiments an evaluation dataset is linked to now."""
    found = call("GET", f"{API3}/datasets/{quote(dataset_id, safe='')}/experiment-ids")
    return [str(e) for e in found.get("experiment_ids", [])]
