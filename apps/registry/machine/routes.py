"""The allow-list of the governed MLflow endpoint: what is not here is refused.

Each route says whether it reads or writes, and what it writes to. MLflow serves more under `/ajax-api`, `/graphql` and its own
pages, and offers assistants, a gateway, jobs, webhooks and secrets: none of them is on the list.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

READ, WRITE = "read", "write"
Special = Literal["", "version", "model", "set_alias", "delete_alias", "artifact", "experiment"]


@dataclass(frozen=True, slots=True)
class Route:
    """One admitted method and path. `obj_fields`: body fields that name the object, first one present wins; `{}` names in the path too."""

    method: str
    pattern: str
    kind: str = READ
    obj_type: str = ""
    obj_fields: tuple[str, ...] = ()
    special: Special = ""
    regex: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        text = re.escape(self.pattern)
        text = text.replace(r"\{id\}", r"(?P<id>[A-Za-z0-9][A-Za-z0-9_-]{0,99})").replace(r"\{path\}", r"(?P<path>.+)")
        object.__setattr__(self, "regex", re.compile(text, re.DOTALL))

    @property
    def name(self) -> str:
        """How the trail names it."""
        return f"{self.method} {self.pattern}"

    def obj_id(self, found: Mapping[str, str], body: Mapping[str, Any]) -> str:
        """Identifier of what is written to, from the path or the body; `-` when the caller gave none."""
        for name in ("id", "path"):
            if found.get(name):
                return found[name]
        for name in self.obj_fields:
            # MLflow reads camel-case names too.
            for key in (name, re.sub(r"_(\w)", lambda m: m[1].upper(), name)):
                if isinstance(body.get(key), str | int) and body[key] != "":
                    return str(body[key])[:500]
        return "-"


T, REGISTRY = "/api/2.0/mlflow", "/api/2.0/mlflow/registered-models"
V, LOGGED, STORE = f"{T}/model-versions", f"{T}/logged-models", "/api/2.0/mlflow-artifacts/artifacts"
RUN: dict[str, Any] = {"kind": WRITE, "obj_type": "run", "obj_fields": ("run_id", "run_uuid")}
MODEL: dict[str, Any] = {"kind": WRITE, "obj_type": "registeredmodel", "obj_fields": ("name",)}
VERSION: dict[str, Any] = {"kind": WRITE, "obj_type": "modelversion", "obj_fields": ("name",)}
EXPERIMENT: dict[str, Any] = {"kind": WRITE, "obj_type": "experiment", "obj_fields": ("experiment_id", "name")}
LOGGED_MODEL: dict[str, Any] = {"kind": WRITE, "obj_type": "loggedmodel", "obj_fields": ("experiment_id",)}

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health"),
    Route("GET", "/version"),
    Route("GET", "/api/3.0/mlflow/server-info"),
    Route("GET", f"{T}/experiments/get"),
    Route("GET", f"{T}/experiments/get-by-name"),
    Route("GET", f"{T}/experiments/search"),
    Route("POST", f"{T}/experiments/search"),
    Route("GET", f"{T}/runs/get"),
    Route("POST", f"{T}/runs/search"),
    Route("GET", f"{T}/metrics/get-history"),
    Route("GET", f"{T}/metrics/get-history-bulk-interval"),
    Route("GET", f"{T}/artifacts/list"),
    Route("GET", f"{LOGGED}/{{id}}"),
    Route("GET", f"{LOGGED}/{{id}}/artifacts/directories"),
    Route("POST", f"{LOGGED}/search"),
    Route("GET", f"{REGISTRY}/get"),
    Route("GET", f"{REGISTRY}/search"),
    Route("GET", f"{REGISTRY}/get-latest-versions"),
    Route("POST", f"{REGISTRY}/get-latest-versions"),
    Route("GET", f"{REGISTRY}/alias"),
    Route("GET", f"{V}/get"),
    Route("GET", f"{V}/search"),
    Route("GET", f"{V}/get-download-uri"),
    Route("GET", STORE),
    Route("GET", f"{STORE}/{{path}}"),
    Route("POST", f"{T}/experiments/create", special="experiment", **EXPERIMENT),
    Route("POST", f"{T}/experiments/update", **EXPERIMENT),
    Route("POST", f"{T}/experiments/set-experiment-tag", **EXPERIMENT),
    Route("POST", f"{T}/runs/create", kind=WRITE, obj_type="experiment", obj_fields=("experiment_id",)),
    Route("POST", f"{T}/runs/update", **RUN),
    Route("POST", f"{T}/runs/log-metric", **RUN),
    Route("POST", f"{T}/runs/log-parameter", **RUN),
    Route("POST", f"{T}/runs/log-batch", **RUN),
    Route("POST", f"{T}/runs/log-inputs", **RUN),
    Route("POST", f"{T}/runs/log-model", **RUN),
    Route("POST", f"{T}/runs/outputs", **RUN),
    Route("POST", f"{T}/runs/set-tag", **RUN),
    Route("POST", LOGGED, **LOGGED_MODEL),
    Route("PATCH", f"{LOGGED}/{{id}}", **LOGGED_MODEL),
    Route("PATCH", f"{LOGGED}/{{id}}/tags", **LOGGED_MODEL),
    Route("POST", f"{LOGGED}/{{id}}/params", **LOGGED_MODEL),
    Route("POST", f"{REGISTRY}/create", special="model", **MODEL),
    Route("PATCH", f"{REGISTRY}/update", **MODEL),
    Route("POST", f"{REGISTRY}/set-tag", **MODEL),
    Route("POST", f"{REGISTRY}/alias", special="set_alias", **MODEL),
    Route("DELETE", f"{REGISTRY}/alias", special="delete_alias", **MODEL),
    Route("POST", f"{V}/create", special="version", **VERSION),
    Route("PATCH", f"{V}/update", **VERSION),
    Route("POST", f"{V}/set-tag", **VERSION),
    Route("PUT", f"{STORE}/{{path}}", kind=WRITE, obj_type="artifact", special="artifact"),
)

# Refused with a sentence of their own, because a plain client offers them.
REFUSED: tuple[tuple[Callable[[str, str], bool], str], ...] = (
    (
        lambda m, p: p == f"{V}/transition-stage",
        "Stages are not set through MLflow here. Request a gate for the version in the portal; the alias follows the decision.",
    ),
    (
        lambda m, p: p == f"{REGISTRY}/rename",
        "A registered model keeps its name here, because decisions and use cases refer to it. Register the version under the new name.",
    ),
    (
        lambda m, p: m == "DELETE" or p.endswith(("/delete", "/delete-tag", "/delete-experiment-tag", "/restore")),
        "Nothing is deleted through this endpoint, because decisions and the trail refer to it. Ask an administrator to archive it.",
    ),
)
DEFAULT_REFUSAL = "This address of MLflow is not open through Gatehouse. Tracking, the model registry and artifacts are."


def match(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The admitted route of a normal path and the parts it names, or None."""
    for route in ROUTES:
        if route.method == method and (found := route.regex.fullmatch(path)):
            return route, {k: v for k, v in found.groupdict().items() if v}
    return None


def why_refused(method: str, path: str) -> str:
    """The sentence for a path that is not on the list."""
    return next((sentence for test, sentence in REFUSED if test(method, path)), DEFAULT_REFUSAL)
