"""What the endpoint asks before it shows or does something. Reads need sight alone; writes go to the registry's rules."""

from collections.abc import Mapping
from typing import Any

from apps.core.actor import Actor
from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.registry import services
from apps.registry.gateways import locate
from apps.registry.machine import sent as sents
from apps.registry.machine.routes import Route
from apps.registry.machine.sent import Sent
from apps.registry.rules import access
from apps.registry.selectors.access import Sight, sight

__all__ = ["Sight", "check_read", "check_scope", "check_write", "no_such", "sight"]

NOUNS = {
    "loggedmodel": "logged model", "version": "model version", "model": "registered model", "artifact": "file", "labelschema": "label schema",
    "reviewqueue": "review queue",
}  # fmt: skip


def check_scope(actor: Actor) -> None:
    """A token is for this endpoint, or is not."""
    if not actor.has_scope("mlflow"):
        raise NotAllowed("This token lacks the scope 'mlflow'. Issue one that has it under Account.")


def no_such(obj: str) -> NotFound:
    """The one sentence for what is not there and for what is not to be seen."""
    return NotFound(f"There is no such {NOUNS.get(obj, obj)}, or you may not see it. Check the name or ask its owner.")


def check_read(seen: Sight, obj: str, key: Mapping[str, Any]) -> None:
    """Whether the caller may see what these keys name. Raises NotFound."""
    if seen.everything or obj == "none":
        return
    if obj in {"model", "version"}:
        if not seen.models([str(key.get("name", ""))]):
            raise no_such(obj)
        return
    found = experiments_of(obj, key)
    if not found or set(found) - seen.experiments(found):
        raise no_such(obj)


def experiments_of(obj: str, key: Mapping[str, Any]) -> list[str]:
    """The experiments something belongs to; MLflow is asked where the portal does not know yet."""
    try:
        its_id, place_of = locate.BY_ID.get(obj, ("", None))
        if place_of is not None and key.get(its_id):
            return [place_of(str(key[its_id]))]
        if obj == "dataset" and key.get("dataset_id"):
            return locate.dataset(str(key["dataset_id"]))
        if obj == "artifact":
            inside = access.experiment_of_path(str(key.get("path", "")))
            return [inside] if inside else []
        return [str(key["experiment_id"])] if key.get("experiment_id") else []
    except NotFound as error:
        raise no_such(obj) from error


def check_write(actor: Actor, route: Route, sent: Sent) -> Any:
    """Whether the caller may do this to all that the request names. Returns the model version it is about, as `check_access` does."""
    values, known = sent.values, None
    for obj, key in _subjects(route, sent):
        known = services.check_access(actor=actor, verb=route.verb, obj_type=obj, key=key, sent=values)
    if route.special in {"dataset-experiments", "traces", "trace", "spans"}:
        _check_beside(actor, route, sent)
    if route.special.startswith("signed-"):
        # MLflow takes the caller's word for who it was; the portal knows. What waits again was finished by nobody.
        waits = "PENDING" in str(sent.values.get("status", "")).upper()
        sent.put(route.special.removeprefix("signed-"), None if waits and "completed_by" in route.special else actor.label)
    return known


def _subjects(route: Route, sent: Sent) -> list[tuple[str, dict[str, Any]]]:
    values = sent.values
    if route.policy == "each":
        ids = values.get(route.keys[0]) or []
        if not ids:
            raise Invalid(f"{route.keys[0]}: name at least one.")
        return [(route.obj, {"experiment_id": each}) for each in ids]
    key = route.key(values)
    wanted = route.keys[0].partition("=")[0] if route.keys else ""
    if wanted and not key:
        raise Invalid(f"{wanted}: it is needed, to say what this is about. Give it.")
    return [(route.obj, key)]


def _check_beside(actor: Actor, route: Route, sent: Sent) -> None:
    """What a write touches beside its own object."""
    values = sent.values
    if route.special == "dataset-experiments":
        for each in values.get("experiment_ids") or []:
            services.check_access(actor=actor, verb="log", obj_type="experiment", key={"experiment_id": each}, sent={})
        return
    if route.special == "spans" and "run_id" in values:
        services.check_access(actor=actor, verb="log", obj_type="run", key={"run_id": values["run_id"]}, sent={})
    for trace_id in values.get("trace_ids") or []:
        try:
            services.check_access(actor=actor, verb="log", obj_type="trace", key={"trace_id": trace_id}, sent={})
        except NotFound:
            # A new trace has no place yet; an old one is only added to by those who see where it is.
            if route.special == "traces" or _exists(trace_id):
                raise


def _exists(trace_id: str) -> bool:
    try:
        locate.trace(trace_id)
    except NotFound:
        return False
    return True


def traces_started(sent: Sent) -> None:
    """Bring the body of a v3 trace to one spelling: its id and its experiment are what is decided on."""
    info = sents.part(sent.body or {}, "trace", "trace_info")
    place = sents.part(info, "trace_location", "mlflow_experiment")
    if not place.get("experiment_id") or not info.get("trace_id"):
        raise Invalid("trace: give trace_info with a trace_id and a trace_location of an MLflow experiment.")
    place["experiment_id"] = sents.shape("experiment_id", place["experiment_id"])
    info["trace_id"] = sents.shape("trace_id", info["trace_id"])
    sent.values = {**sent.values, "experiment_id": place["experiment_id"], "trace_ids": [info["trace_id"]]}
