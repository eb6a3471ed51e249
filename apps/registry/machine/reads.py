"""Reads: shown to those who see what they are about; searches narrowed to, or filtered by, what the caller may see."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.core.errors import Invalid, UpstreamFailed
from apps.registry.gateways import forward, locate
from apps.registry.machine import answers, guard, pages, paths
from apps.registry.machine import sent as sents
from apps.registry.machine.routes import Route, upstream
from apps.registry.machine.sent import Sent

# With these its client would upload and download past the portal, or try to.
NOT_OFFERED = (
    "multipart_uploads_enabled",
    "multipart_downloads_enabled",
    "presigned_upload_run_id_supported",
    "presigned_upload_model_id_supported",
)
# What MLflow calls each of them in its answers.
JUDGED = {"labelschema": "label_schema", "reviewqueue": "review_queue", "issue": "issue"}


def serve(request: HttpRequest, route: Route, path: str, sent: Sent, seen: guard.Sight) -> HttpResponseBase:
    """Answer an admitted read."""
    where = paths.wire(upstream(route, path))
    if route.special == "locations":
        _plain_locations(sent)
    if route.special == "abilities":
        return _abilities(_ask(request, where, sent))
    if seen.everything and not pages.is_ours(sent.values.get("page_token")):
        return answers.streamed(_ask(request, where, sent))
    if route.policy == "page":
        return pages.serve(lambda page: _ask(request, where, page), route, sent, seen)
    if route.policy == "narrow":
        if not _narrowed(route, sent, seen):
            return answers.made({})
    elif route.policy == "each":
        for each in _several(route, sent):
            guard.check_read(seen, route.obj, {route.keys[0].removesuffix("s"): each})
    elif route.policy == "answer":
        return _by_its_answer(request, route, where, sent, seen)
    else:
        key = route.key(sent.values)
        if route.keys and not key:
            raise Invalid(f"{route.keys[0].partition('=')[0]}: it is needed, to say what this is about. Give it.")
        if route.obj in {"model", "version"}:
            # The portal asks its own tables while MLflow works; what MLflow says is only read when the caller may see it.
            return answers.streamed(_same_words(_ask(request, where, sent, lambda: guard.check_read(seen, route.obj, key)), route))
        guard.check_read(seen, route.obj, key)
        if route.special == "experiment-ids":
            return _only_seen_experiments(_ask(request, where, sent), seen)
    return answers.streamed(_same_words(_ask(request, where, sent), route))


def _ask(request: HttpRequest, where: str, sent: Sent, meanwhile: Callable[[], None] | None = None) -> forward.Answer:
    headers, content = answers.headers(request), sent.content
    if content is not None:
        headers["Content-Type"] = "application/json"
    return forward.send(str(request.method), where, query=sent.query_string, headers=headers, content=content, meanwhile=meanwhile)


def _same_words(answer: forward.Answer, route: Route) -> forward.Answer:
    """What is not there is answered as what is not to be seen is."""
    if answer.status == 404 and route.obj not in {"none", "artifact"}:
        answer.close()
        raise guard.no_such(route.obj)
    return answer


def _by_its_answer(request: HttpRequest, route: Route, where: str, sent: Sent, seen: guard.Sight) -> HttpResponseBase:
    """One call in place of two: MLflow's answer tells where the thing belongs; it is shown if the caller sees that."""
    answer = _same_words(_ask(request, where, sent), route)
    answers.not_redirect(answer)
    data = answer.read(answers.MOST_ANSWER_BYTES)
    if answer.status == 200:
        value = answers.parsed(data)
        experiment = experiment_in(route.obj, value)
        if not experiment or not seen.experiments([experiment]):
            raise guard.no_such(route.obj)
        field, _ = locate.BY_ID.get(route.obj, ("", None))
        if sent.values.get(field):
            locate.note(route.obj, str(sent.values[field]), experiment)
    return answers.whole(answer, data)


def experiment_in(obj: str, value: dict[str, Any]) -> str:
    """The experiment that MLflow's answer about one thing names, or ""."""

    def at(*names: str) -> str:
        inner: Any = value
        for name in names:
            inner = inner.get(name) if isinstance(inner, dict) else None
        return str(inner or "")

    if obj == "experiment":
        return at("experiment", "experiment_id")
    if obj == "run":
        return at("run", "info", "experiment_id")
    if obj == "loggedmodel":
        return at("model", "info", "experiment_id")
    if obj in JUDGED:
        return at(JUDGED[obj], "experiment_id")
    return at("trace", "trace_info", "trace_location", "mlflow_experiment", "experiment_id") or at("trace_info", "experiment_id")


def _abilities(answer: forward.Answer) -> HttpResponseBase:
    """What MLflow says of itself, without what is refused here: ways round the portal to the artifact store, its model gateway."""
    answers.not_redirect(answer)
    data = answer.read(answers.MOST_ANSWER_BYTES)
    said = answers.parsed(data)
    if answer.status != 200 or not said:
        return answers.whole(answer, data)
    features = said.get("features_enabled")
    closed = {"features_enabled": dict.fromkeys(features, False)} if isinstance(features, dict) else {}
    return answers.made({**said, **dict.fromkeys(NOT_OFFERED, False), **closed})


def _several(route: Route, sent: Sent) -> list[str]:
    ids = sent.values.get(route.keys[0]) or []
    if not ids:
        raise Invalid(f"{route.keys[0]}: name at least one.")
    return list(dict.fromkeys(ids if isinstance(ids, list) else [ids]))


def _narrowed(route: Route, sent: Sent, seen: guard.Sight) -> bool:
    """Leave out experiments that the caller does not see; False when none is left."""
    if route.special == "locations":
        ids = [place["mlflow_experiment"]["experiment_id"] for place in sent.values["locations"]]
        allowed = seen.experiments(ids)
        sent.put("locations", [place for place, each in zip(sent.values["locations"], ids, strict=True) if each in allowed])
        return bool(sent.values["locations"])
    if route.special == "one-or-many" and sent.values.get("experiment_id"):
        guard.check_read(seen, route.obj, {"experiment_id": sent.values["experiment_id"]})
        if not sent.values.get("experiment_ids"):
            return True
    ids = sent.values.get("experiment_ids") or []
    if not ids:
        raise Invalid("experiment_ids: name the experiments to search.")
    allowed = seen.experiments(ids)
    sent.put("experiment_ids", [each for each in ids if each in allowed])
    return bool(sent.values["experiment_ids"])


def _plain_locations(sent: Sent) -> None:
    """Each place of a search for traces, written anew: an experiment, and nothing else."""
    places = sent.values.get("locations")
    if not isinstance(places, list) or not places:
        raise Invalid("locations: name the experiments to search.")
    plain = []
    for place in places:
        if not isinstance(place, dict):
            raise Invalid("locations: give a list of objects.")
        place = sents.fold(place, "locations")
        inner = sents.part(place, "mlflow_experiment")
        if set(place) - {"type", "mlflow_experiment"} or not inner.get("experiment_id"):
            raise Invalid("locations: only MLflow experiments are searched here.")
        plain.append(
            {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": sents.shape("experiment_id", inner["experiment_id"])}}
        )
    sent.put("locations", plain)


def _only_seen_experiments(answer: forward.Answer, seen: guard.Sight) -> HttpResponseBase:
    answers.not_redirect(answer)
    data = answer.read(answers.MOST_ANSWER_BYTES)
    if answer.status != 200:
        return answers.whole(answer, data)
    ids = [str(each) for each in answers.parsed(data).get("experiment_ids", [])]
    allowed = seen.experiments(ids)
    if "experiment_ids" not in answers.parsed(data):
        raise UpstreamFailed("MLflow's answer names no experiments.")
    return answers.made({"experiment_ids": [each for each in ids if each in allowed]})
