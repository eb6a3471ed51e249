"""What the registry holds to be true. Pure: no ORM, no clock, no network."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from apps.core.actor import Actor, Role
from apps.core.errors import Invalid, NotAllowed
from apps.registry.rules.cards import (
    CARD_FIELDS,
    CARD_LEAST_WORDS,
    CARD_MOST_CHARACTERS,
    CARD_NEEDED,
    CARD_TITLES,
    Completeness,
    card_texts,
    check_card,
    completeness,
    missing_in_card,
    prefilled_card,
)

__all__ = [
    "CARD_FIELDS",
    "CARD_LEAST_WORDS",
    "CARD_MOST_CHARACTERS",
    "CARD_NEEDED",
    "CARD_TITLES",
    "MLFLOW_VERSION",
    "PROTECTED_ALIASES",
    "SOURCE_SCHEMES",
    "Completeness",
    "DatasetFacts",
    "VersionFacts",
    "alias_key",
    "artifact_root_of",
    "card_texts",
    "check_card",
    "check_may_edit",
    "check_may_read_mlflow",
    "check_may_write_mlflow",
    "check_source",
    "completeness",
    "feature_names",
    "folders_above",
    "missing_in_card",
    "prefilled_card",
    "protecting_environment",
    "unpinned",
]

# The version of MLflow whose addresses the endpoint's list knows (apps/registry/machine/routes); requirements.in pins the same.
MLFLOW_VERSION = "3.17.2"
# Only these lead to a folder whose files the portal can read and digest.
SOURCE_SCHEMES = ("models", "runs", "mlflow-artifacts")


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """A dataset that a run named as input. `digest` is MLflow's; `profile` holds counts such as num_rows."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)
    context: str = ""


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """Everything one reading of MLflow and its artifact store says of one model version.

    state: `pending` (MLflow has not finished), `ready`, or `failed` with the reason in `detail`.
    read_at: when the reading began; a write after it is not in it.
    digest / manifest: as in celery_worker.orders, of the files that were read ("" and {} when none could be). sizes: path -> bytes.
    beside: path -> bytes of the other files in the folder of its run; beside_digest: over all of them, "" when they were not read.
    beside_unread: why they cannot be read, in words that stay the same while it stays so; "" when they were, or were not asked for.
    """

    name: str
    version: int
    state: str
    run_id: str = ""
    experiment_id: str = ""
    run_name: str = ""
    source: str = ""
    detail: str = ""
    artifact_root: str = ""
    digest: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    beside: dict[str, int] = field(default_factory=dict)
    beside_digest: str = ""
    beside_unread: str = ""
    flavor: str = ""
    flavors: tuple[str, ...] = ()
    signature: dict[str, Any] = field(default_factory=dict)
    requirements: str = ""
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    description: str = ""
    model_description: str = ""
    model_tags: dict[str, str] = field(default_factory=dict)
    datasets: tuple[DatasetFacts, ...] = ()
    registered_at: datetime | None = None
    read_at: datetime | None = None


def alias_key(alias: str) -> str:
    """The alias as it is compared: without case, compatibility forms or surrounding spaces."""
    return unicodedata.normalize("NFKC", alias).strip().casefold()


def protecting_environment(alias: str) -> str:
    """The environment whose decision this alias follows, or "" for an alias anyone who may write may set."""
    return next((e for name, e in settings.PROTECTED_ALIASES.items() if alias_key(name) == alias_key(alias)), "")


def is_evidence_tag(key: str) -> bool:
    """Whether a tag of this name claims what only a decision says."""
    return bool(settings.EVIDENCE_TAG_PREFIX) and alias_key(key).startswith(alias_key(settings.EVIDENCE_TAG_PREFIX))


def check_may_write_mlflow(actor: Actor) -> None:
    """Engineers and administrators, with a token of scope `mlflow`."""
    check_may_read_mlflow(actor)
    if not (actor.is_admin or actor.has_role(Role.ML_ENGINEER)):
        raise NotAllowed("Your roles may read the MLflow endpoint, not write to it. An ML engineer can.")


def check_may_read_mlflow(actor: Actor) -> None:
    """Those who work with models, with a token of scope `mlflow`."""
    if not actor.has_scope("mlflow"):
        raise NotAllowed("This token lacks the scope 'mlflow'. Issue one that has it under Account.")
    if not (actor.sees_everything or actor.has_role(Role.ML_ENGINEER, Role.APPROVER)):
        raise NotAllowed(
            "The MLflow endpoint is for ML engineers, approvers, auditors and administrators. Ask an administrator for a role."
        )


def check_may_edit(actor: Actor) -> None:
    """Cards and fresh readings: engineers and administrators."""
    if not (actor.is_admin or actor.has_role(Role.ML_ENGINEER)):
        raise NotAllowed("Only an ML engineer or an administrator may do this. Ask one.")


def check_source(source: str) -> None:
    """A version comes from a logged model, a run, or MLflow's own artifact store; nothing else can be digested and frozen."""
    parts = urlsplit(source)
    if parts.scheme not in SOURCE_SCHEMES or parts.netloc:
        raise Invalid(
            "source: register from a run or a logged model of this portal (runs:/..., models:/...). Files elsewhere cannot be governed.",
            errors={"source": ["Not in this portal's artifact store."]},
        )


def artifact_root_of(uri: str) -> str:
    """The folder inside MLflow's artifact store that `mlflow-artifacts:/...` names, or "" when it is none or not a plain path."""
    parts = urlsplit(uri)
    if parts.scheme != "mlflow-artifacts" or parts.netloc or parts.query or parts.fragment:
        return ""
    segments = parts.path.strip("/").split("/")
    if any(s in {"", ".", ".."} or re.search(r"[\x00-\x1f\\%]", s) for s in segments):
        return ""
    return "/".join(segments)


def folders_above(path: str) -> list[str]:
    """`a/b/c` -> `a/b/c`, `a/b`, `a`: where a registered version's folder could be that holds the path."""
    segments = path.split("/")
    return ["/".join(segments[:n]) for n in range(len(segments), 0, -1)]


def feature_names(signature: Mapping[str, Any]) -> list[str]:
    """Names of the input columns, in order; [] for a model that takes a bare tensor."""
    return [i["name"] for i in signature.get("inputs") or [] if i.get("name")]


def unpinned(requirements: str) -> list[str]:
    """Lines of a requirements text that do not fix one version."""
    lines = [line.split("#")[0].strip() for line in requirements.splitlines()]
    return [line for line in lines if line and not line.startswith("-") and "==" not in line and " @ " not in line]
