"""Who may do what to a model or an experiment. Pure: the standing is looked up elsewhere."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.actor import Actor, Role
from apps.core.errors import Invalid, NotAllowed, NotFound

# What MLflow's client still says to a run when it ends: nothing that a decision stands on.
RUN_ENDS = frozenset({"run_id", "run_uuid", "status", "end_time"})
VERBS = ("read", "log", "register", "edit", "delete", "alias", "admin")
OBJ_TYPES = (
    "experiment",
    "run",
    "model",
    "version",
    "loggedmodel",
    "trace",
    "artifact",
    "dataset",
    "scorer",
    "labelschema",
    "reviewqueue",
    "issue",
    "none",
)
# Environments that the two stages of MLflow stand for; the others take a version out of one.
STAGE_ENVIRONMENTS = {"production": "production", "staging": "pilot"}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the actor is to an object. unclaimed: no use case uses it and nobody owns it."""

    sees: bool = True
    owns: bool = False
    changes_usecase: bool = False
    granted_change: bool = False
    granted_delete: bool = False
    unclaimed: bool = False

    def __and__(self, other: "Standing") -> "Standing":
        """The standing towards both."""
        return Standing(*(getattr(self, f) and getattr(other, f) for f in Standing.__slots__))


def check_right(actor: Actor, verb: str, standing: Standing, what: str) -> None:
    """Whether the actor's roles and standing allow the verb; what a decision protects is another question.

    Raises NotFound when the thing is out of sight, NotAllowed with the remedy when it is not.
    """
    if verb not in VERBS:
        raise Invalid(f"{verb!r} is none of {', '.join(VERBS)}.")
    if not standing.sees:
        raise NotFound(f"There is no such {what.split()[0]}, or you may not see it. Check the name or ask its owner.")
    if verb == "read" or actor.is_admin:
        return
    if verb == "admin":
        raise NotAllowed("Only an administrator may do this. Ask one.")
    if not actor.has_role(Role.ML_ENGINEER):
        raise NotAllowed(f"Your roles may read the {what}, not write to it. An ML engineer can.")
    if verb == "delete":
        if not standing.granted_delete:
            raise NotAllowed(f"Only an administrator may delete the {what}. Owning or having made it is not enough.")
        return
    if verb in {"log", "register"}:
        return
    if not (standing.owns or standing.changes_usecase or standing.granted_change or standing.unclaimed):
        raise NotAllowed(f"You may log to the {what} but not change it. Ask its owner, or whoever may change a use case that uses it.")


def plain_names(value: Any) -> Any:
    """A body with its field names as MLflow's messages declare them: the camel-case spelling means the same field."""
    if isinstance(value, Mapping):
        return {re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: "_" + m[1].lower(), str(k)): v for k, v in value.items()}
    return value


def tag_keys(sent: Mapping[str, Any]) -> Iterator[str]:
    """Every tag key that a body sets or removes: `key` itself, and those in a list or an object of tags."""
    for field in ("key", "tag_key"):
        if isinstance(sent.get(field), str):
            yield sent[field]
    tags = sent.get("tags")
    if isinstance(tags, Mapping):
        yield from map(str, tags)
    elif isinstance(tags, list):
        yield from (str(t["key"]) for t in tags if isinstance(t, Mapping) and "key" in t)
    for inner in ("updates", "experiment", "trace_info"):
        if isinstance(sent.get(inner), Mapping):
            yield from tag_keys(sent[inner])


def named_in(source: str) -> dict[str, str]:
    """What a version's source leads to: `run_id`, `model_id`, `name` (and `version`), or `path` in the artifact store; {} for none."""
    if found := re.fullmatch(r"runs:/+([^/]+)(?:/.*)?", source):
        return {"run_id": found[1]}
    if found := re.fullmatch(r"models:/+(m-[0-9a-f]{32})(?:/.*)?", source):
        return {"model_id": found[1]}
    if found := re.fullmatch(r"models:/+([^/@]+)(?:[/@](.*))?", source):
        return {"name": found[1]}
    if found := re.fullmatch(r"mlflow-artifacts:/+(.*)", source):
        return {"path": found[1]}
    return {}


def owner_of_path(path: str) -> dict[str, str]:
    """The run (`run_id`) or logged model (`model_id`) in whose folder a path of the artifact store lies; {} when in neither's."""
    if found := re.fullmatch(r"[0-9]{1,20}/([0-9a-f]{32})(?:/.*)?", path.strip("/"), re.DOTALL):
        return {"run_id": found[1]}
    if found := re.fullmatch(r"[0-9]{1,20}/models/(m-[0-9a-f]{32})(?:/.*)?", path.strip("/"), re.DOTALL):
        return {"model_id": found[1]}
    return {}


def experiment_of_path(path: str) -> str:
    """The experiment in whose folder a path of the artifact store lies, or "" for a path that is in none."""
    first = path.strip("/").split("/")[0]
    return first if re.fullmatch(r"[0-9]{1,20}", first) else ""
