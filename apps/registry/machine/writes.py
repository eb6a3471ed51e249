"""Writes: checked, written in the trail, sent to MLflow, and remembered by the portal."""

import logging
import re
from typing import Any

from django.db import DatabaseError, IntegrityError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from apps.core.actor import Actor
from apps.core.doors import at_once, at_once_repairable, call, call_repairable
from apps.core.errors import DomainError, Invalid, NotAllowed
from apps.registry import rules, services
from apps.registry.gateways import forward, locate, mlflow
from apps.registry.machine import answers, guard, paths, spans
from apps.registry.machine import body as bodies
from apps.registry.machine.routes import Route, upstream
from apps.registry.machine.sent import Sent

log = logging.getLogger(__name__)

# Where mlflow's client puts files: <experiment>/<run>/artifacts/..., <experiment>/models/<logged model>/artifacts/... and
# <experiment>/traces/<trace>/artifacts/...
ARTIFACT = re.compile(r"[0-9]{1,20}/(?:[0-9a-f]{32}|models/m-[0-9a-f]{32}|traces/[A-Za-z0-9_-]{1,100})/artifacts/.+", re.DOTALL)
PROMPT_TAG, PROMPT_SOURCES = "mlflow.prompt.is_prompt", ("dummy-source", "prompt-template")


def serve(request: HttpRequest, route: Route, path: str, sent: Sent, actor: Actor) -> HttpResponseBase:
    """Answer an admitted write; a refused one is in the trail too."""
    try:
        content: Any = None
        if route.special == "spans":
            content = spans.read(request, sent)
        _prepare(route, sent)
        known = guard.check_write(actor, route, sent)
        if content is None and route.special != "artifact":
            content = sent.content
    except DomainError as error:
        return deny(actor, route.name, route.obj_type, route.obj_id(sent.values), error)
    obj_id = route.obj_id(sent.values)
    headers = answers.headers(request)
    # What identifies a version that is asked for: by it the author is found should the answer be lost.
    after: dict[str, Any] = {n: sent.values[n] for n in ("source", "run_id") if route.special == "version" and sent.values.get(n)}
    if route.special == "artifact":
        content, after = _upload(request, headers)
    elif route.special == "spans":
        headers |= spans.headers(request, sent)
        after = {"traces": len(sent.values["trace_ids"])}
    else:
        headers["Content-Type"] = "application/json"
    intent = at_once(
        services.begin_write, actor=actor, route=route.name, obj_type=route.obj_type, obj_id=obj_id, after=after,
        asks_for_version=route.special == "version", key=route.key(sent.values), sent=sent.values, known=known,
    )  # fmt: skip
    response, said = _settled(actor, route, obj_id, upstream(route, path), headers, content)
    if response.status_code == 200:
        try:
            try:
                _follow_up(actor, route, sent.values, said, intent)
            except IntegrityError:
                # A reading has met the same in the same moment; now it is there.
                _follow_up(actor, route, sent.values, said, intent)
        except (DomainError, DatabaseError, KeyError, ValueError, forward.MlflowUnreachable):
            # MLflow has done it and the trail holds the request: the caller gets the answer, and discovery mends the record.
            log.exception("recording what MLflow has done failed", extra={"event": {"route": route.name, "object": obj_id}})
    return response


def deny(actor: Actor, route: str, obj_type: str, obj_id: str, error: DomainError) -> HttpResponse:
    """Refuse, and keep the refused write in the trail."""
    call(services.deny_write, actor=actor, route=route[:300], obj_type=obj_type, obj_id=obj_id[:500], reason=error.detail)
    return answers.refusal(error.status, error.detail)


def _prepare(route: Route, sent: Sent) -> None:
    """What a body may not say, whoever says it; and what it leaves to MLflow's own choice is chosen here."""
    values = sent.values
    if route.special == "version":
        if not isinstance(values.get("name"), str) or not isinstance(values.get("source"), str):
            raise Invalid("Give name and source as text.")
        if re.search(r"[%\\\x00-\x1f]|\.\.", values["source"]):
            raise Invalid(
                "source: it holds characters that have no place in it. Give the plain address of a run, a logged model or a version."
            )
        if not _is_prompt(values):
            rules.check_source(values["source"])
    elif route.special in {"set_alias", "delete_alias"}:
        if not isinstance(values.get("alias"), str) or not isinstance(values.get("name"), str):
            raise Invalid("Give name and alias as text.")
    elif route.special == "experiment" and values.get("artifact_location"):
        raise NotAllowed("artifact_location: artifacts are kept in this portal's store, where they can be governed. Leave it out.")
    elif route.special == "run" and not values.get("experiment_id"):
        sent.put("experiment_id", "0")
    elif route.special == "trace":
        guard.traces_started(sent)
    elif route.special == "artifact" and not ARTIFACT.fullmatch(values["path"]):
        raise NotAllowed("Files are stored under a run, a logged model or a trace only. Log the artifact to one.")


def _is_prompt(values: dict[str, Any]) -> bool:
    """A version of a prompt is its text, kept in a tag: it has no files, and mlflow's client says this in place of a source."""
    tags = values.get("tags")
    marked = isinstance(tags, list) and any(isinstance(t, dict) and t.get("key") == PROMPT_TAG for t in tags)
    return marked and values.get("source") in PROMPT_SOURCES


def _upload(request: HttpRequest, headers: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    length = bodies.length_of(request)
    headers["Content-Type"] = "application/octet-stream"
    if length is not None:
        headers["Content-Length"] = str(length)
    else:
        headers["Transfer-Encoding"] = "chunked"
    return bodies.pieces(request, length), {"size_bytes": length}


def _settled(
    actor: Actor, route: Route, obj_id: str, path: str, headers: dict[str, str], content: Any
) -> tuple[HttpResponse, dict[str, Any]]:
    """Send a write whose intent is recorded; a failure becomes a second event. Returns the answer and its JSON."""

    def failed(reason: str) -> None:
        call(services.fail_write, actor=actor, route=route.name, obj_type=route.obj_type, obj_id=obj_id, reason=reason)

    try:
        with forward.send(route.method, paths.wire(path), headers=headers, content=content) as answer:
            data = answer.read(answers.MOST_ANSWER_BYTES)
    except forward.MlflowUnreachable as error:
        failed(f"{error} {'It may have been done all the same.' if error.sent else 'Nothing was sent.'}")
        raise
    except OSError as error:
        reason = f"The caller broke off while sending ({type(error).__name__})."
        failed(reason)
        raise Invalid(reason) from error
    said = answers.parsed(data)
    if answer.status >= 300:
        failed(f"MLflow answered {answer.status}: {said.get('message', '')}")
    answers.not_redirect(answer)
    return answers.whole(answer, data), said


def _follow_up(actor: Actor, route: Route, sent: dict[str, Any], said: dict[str, Any], intent: Any) -> None:
    """What the portal records of its own after MLflow has done it."""
    if route.special == "experiment":
        # Its owner is kept nowhere else, so this one waits for the disk.
        call(services.created_experiment, actor=actor, experiment_id=str(said["experiment_id"]), name=str(sent.get("name", "")))
    elif route.special == "run":
        info = (said.get("run") or said.get("model") or {}).get("info", {})
        kind, field = ("run", "run_id") if "run" in said else ("loggedmodel", "model_id")
        locate.note(kind, str(info.get(field, "")), str(info.get("experiment_id", "")))
    elif route.special == "model":
        made = said.get("registered_model", {})
        call_repairable(
            services.created_model, actor=actor, name=str(made.get("name", sent.get("name"))), description=str(made.get("description", ""))
        )
    elif route.special == "version":
        made = said["model_version"]
        name, number = str(made["name"]), int(made["version"])
        run_id = str(made.get("run_id", ""))
        at_once_repairable(
            services.created_version, actor=actor, intent_id=intent.id, name=name, version=number, run_id=run_id,
            source=str(made.get("source", "")), artifact_root=_root(name, number, str(made.get("source", ""))),
            experiment_id=locate.run(run_id) if run_id else "",
        )  # fmt: skip
    elif route.special == "set_alias":
        call_repairable(services.record_alias, actor=actor, model=sent["name"], alias=sent["alias"], version=int(sent["version"]))
    elif route.special == "delete_alias":
        call_repairable(services.remove_alias, actor=actor, model=sent["name"], alias=sent["alias"])


def _root(name: str, number: int, source: str) -> str:
    """Folder of a version's files; MLflow is asked where its source does not say it."""
    if found := rules.artifact_root_of(source):
        return found
    try:
        return mlflow.artifact_root(name, number)
    except DomainError:
        return ""
