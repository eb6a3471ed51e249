"""A routing snapshot as the gateway uses it: immutable, checked whole before it replaces the last one."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from gateway import cohorts
from gateway.cohorts import Phase

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
# Goes into a request line and a Host header, so nothing that could end either.
_ENGINE_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:(?P<port>[0-9]{1,5}))?(/[A-Za-z0-9._~/-]*)?\Z")
_SCALE = float(2**64)


class SnapshotRefused(Exception):
    """A signed snapshot does not have the agreed form; the detail names the field."""


@dataclass(frozen=True, slots=True)
class Route:
    """One deployment an endpoint can send to."""

    deployment_id: str
    model_version: str
    engine_model: str
    url: str
    weight: int
    shadow: bool

    @property
    def version(self) -> str:
        """The version alone: `3` of `name/3`."""
        return self.model_version.rpartition("/")[2]

    @property
    def model_url(self) -> str:
        """The engine's own address of the model."""
        return f"{self.url}/v2/models/{quote(self.engine_model, safe='')}"


@dataclass(frozen=True, slots=True)
class Caller:
    """A key of an endpoint. groups: its department and team; open_percent: to how many percent of its users the endpoint is open."""

    key_id: str
    sha256: str
    groups: frozenset[str] = frozenset()
    open_percent: int = cohorts.EVERYBODY


@dataclass(frozen=True, slots=True)
class Rollout:
    """The plan by which production is opened, phase by phase."""

    salt: str
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One public model name, with its keys, limit and routes; with a rollout plan it is open to some, without one to all."""

    id: str
    slug: str
    environment: str
    rate_limit_rps: float
    burst: int
    keys: tuple[Caller, ...]
    feature_names: tuple[str, ...] | None
    live: tuple[Route, ...]
    shadows: tuple[Route, ...]
    rollout: Rollout | None = None

    def routes(self, version: str | None = None) -> Sequence[Route]:
        """Routes that may answer: those with a share of traffic, or all of a version the caller pinned."""
        if version is None:
            return [route for route in self.live if route.weight > 0]
        return [route for route in self.live if route.version == version]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All endpoints at one version."""

    version: int
    issued_at: datetime
    endpoints: Mapping[str, Endpoint]
    key_digests: frozenset[str]


def choose(routes: Sequence[Route], request_id: str) -> Route | None:
    """Pick a route by weight from a hash of the request id: uniform, stateless and repeatable.

    Where no route has weight (a pinned version before its first share) the first one is taken.
    """
    if not routes:
        return None
    total = sum(route.weight for route in routes)
    if total == 0:
        return routes[0]
    digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
    mark = int.from_bytes(digest) / _SCALE * total
    for route in routes:
        mark -= route.weight
        if mark < 0:
            return route
    return routes[-1]


def parse(payload: Mapping[str, Any]) -> Snapshot:
    """Build a Snapshot from a verified payload. Raises SnapshotRefused; nothing is taken in part."""
    # Orders and artifact tokens are signed with the same key: neither may pass for a snapshot.
    if payload.get("v") != 1 or {"kind", "purpose", "audience"} & payload.keys():
        raise SnapshotRefused("This signed message is not a routing snapshot.")
    version = _whole(payload, "version", "version", most=2**63)
    issued_at = _time(payload.get("issued_at"))
    endpoints: dict[str, Endpoint] = {}
    for index, entry in enumerate(_list(payload, "endpoints", "endpoints")):
        endpoint = _endpoint(entry, f"endpoints[{index}]")
        if endpoint.slug in endpoints:
            raise SnapshotRefused(f"endpoints[{index}].slug {endpoint.slug!r} is there twice.")
        endpoints[endpoint.slug] = endpoint
    digests = frozenset(key.sha256 for item in endpoints.values() for key in item.keys)
    return Snapshot(version=version, issued_at=issued_at, endpoints=endpoints, key_digests=digests)


def _endpoint(entry: Any, where: str) -> Endpoint:
    if not isinstance(entry, dict):
        raise SnapshotRefused(f"{where} is not an object.")
    routes = [_route(item, f"{where}.routes[{i}]") for i, item in enumerate(_list(entry, "routes", where))]
    rollout = _rollout(entry.get("rollout"), f"{where}.rollout")
    return Endpoint(
        id=_uuid(entry, "id", where),
        slug=_text(entry, "slug", where),
        environment=_text(entry, "environment", where),
        rate_limit_rps=_rate(entry, where),
        burst=_whole(entry, "burst", where, most=10**9),
        keys=tuple(_key(item, f"{where}.keys[{i}]", rollout) for i, item in enumerate(_list(entry, "keys", where))),
        feature_names=_names(entry.get("feature_names"), where),
        live=tuple(route for route in routes if not route.shadow),
        shadows=tuple(route for route in routes if route.shadow),
        rollout=rollout,
    )


def _route(entry: Any, where: str) -> Route:
    if not isinstance(entry, dict):
        raise SnapshotRefused(f"{where} is not an object.")
    url = _text(entry, "url", where).rstrip("/")
    address = _ENGINE_URL.match(url)
    if not address or int(address["port"] or 0) > 65_535:
        raise SnapshotRefused(f"{where}.url must be http(s)://host:port without credentials or query.")
    shadow = entry.get("shadow", False)
    if not isinstance(shadow, bool):
        raise SnapshotRefused(f"{where}.shadow must be true or false.")
    return Route(
        deployment_id=_uuid(entry, "deployment_id", where),
        model_version=_text(entry, "model_version", where),
        engine_model=_text(entry, "engine_model", where),
        url=url,
        weight=_whole(entry, "weight", where, most=100),
        shadow=shadow,
    )


def _key(entry: Any, where: str, rollout: Rollout | None) -> Caller:
    if not isinstance(entry, dict):
        raise SnapshotRefused(f"{where} is not an object.")
    digest = _text(entry, "sha256", where)
    if not _SHA256.match(digest):
        raise SnapshotRefused(f"{where}.sha256 must be 64 hex digits.")
    groups = _groups(entry.get("groups", []), f"{where}.groups")
    reach = cohorts.EVERYBODY if rollout is None else cohorts.reach(rollout.phases, groups)
    return Caller(_text(entry, "key_id", where), digest, groups, reach)


def _groups(value: Any, where: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise SnapshotRefused(f"{where} must be a list of names.")
    return frozenset(cohorts.same(name) for name in value)


def _rollout(entry: Any, where: str) -> Rollout | None:
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise SnapshotRefused(f"{where} is not an object.")
    rows = _list(entry, "phases", where)
    return Rollout(_text(entry, "salt", where), tuple(_phase(row, f"{where}.phases[{i}]") for i, row in enumerate(rows)))


def _phase(entry: Any, where: str) -> Phase:
    if not isinstance(entry, dict):
        raise SnapshotRefused(f"{where} is not an object.")
    is_open, closed = entry.get("open"), entry.get("closed")
    if not isinstance(is_open, bool) or not isinstance(closed, bool):
        raise SnapshotRefused(f"{where}: open and closed must be true or false.")
    return Phase(
        name=_text(entry, "name", where),
        departments=_groups(entry.get("departments"), f"{where}.departments"),
        percent=_whole(entry, "percent", where, most=100),
        open=is_open,
        closed=closed,
        planned_on=_text(entry, "planned_on", where),
    )


def _rate(entry: Mapping[str, Any], where: str) -> float:
    rate = entry.get("rate_limit_rps")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1e9:
        raise SnapshotRefused(f"{where}.rate_limit_rps must be a number, 0 or more.")
    return float(rate)


def _names(value: Any, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise SnapshotRefused(f"{where}.feature_names must be a list of names or null.")
    return tuple(value)


def _list(entry: Mapping[str, Any], name: str, where: str) -> list[Any]:
    value = entry.get(name)
    if not isinstance(value, list):
        raise SnapshotRefused(f"{where}.{name} must be a list.")
    return value


def _text(entry: Mapping[str, Any], name: str, where: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise SnapshotRefused(f"{where}.{name} must be printable text.")
    return value


def _uuid(entry: Mapping[str, Any], name: str, where: str) -> str:
    # The id becomes a folder name among the captures, so only the canonical form of a UUID passes.
    try:
        return str(uuid.UUID(_text(entry, name, where)))
    except ValueError as error:
        raise SnapshotRefused(f"{where}.{name} must be a UUID.") from error


def _whole(entry: Mapping[str, Any], name: str, where: str, *, most: int) -> int:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise SnapshotRefused(f"{where}.{name} must be a whole number from 0 to {most}.")
    return value


def _time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise SnapshotRefused("issued_at is not an ISO 8601 time.") from error
    if moment.tzinfo is None:
        raise SnapshotRefused("issued_at has no time zone.")
    return moment.astimezone(UTC)
