"""The list of registered models as rows that go out as they are: what composes it is kept, so that a page costs what finding it costs."""

import json
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, F, Func, QuerySet, Value

from apps.core.actor import Actor
from apps.registry import selectors
from apps.registry.models import RegisteredModel
from apps.registry.models.governance import MOST_NAMED, granted_rows, models_seen, usecase_scope, works_with_models
from apps.registry.selectors import composed

COLUMNS = (
    "id", "name", "description", "owner__email", "author", "tags", "governed", "version_count", "latest_version", "registered_at", "synced_at",
    "gone_at", "created_at",
)  # fmt: skip
# How many rows are asked for: few sizes, so that few statements are kept. The last is more than a page and its furthest offset.
SIZES = (2, 11, 51, 101, 251, 501, 1_001, 1_601)


class _OneOf(Func):
    """Whether an id is in a list that comes as one value."""

    arg_joiner, template, output_field = " = ANY(", "(%(expressions)s::uuid[]))", BooleanField()


class _Before(Func):
    """Whether an id comes before another."""

    arg_joiner, template, output_field = " < ", "(%(expressions)s::uuid)", BooleanField()


class _After(_Before):
    arg_joiner = " > "


@dataclass(frozen=True, slots=True)
class ModelList:
    """Models that the actor may see, with the interface of a queryset as far as keyset pagination uses it; rows are mappings.

    governed: as in `selectors.models`. before, after: only those with a smaller or greater id.
    """

    actor: Actor
    governed: bool | None = None
    backwards: bool = True
    before: UUID | None = None
    after: UUID | None = None

    def order_by(self, ordering: str) -> "ModelList":
        """By `id` or `-id`."""
        return replace(self, backwards=ordering.startswith("-"))

    def filter(self, *, id__lt: str = "", id__gt: str = "") -> "ModelList":
        """Those beyond a position. Raises ValueError for what is no id."""
        return replace(self, before=UUID(id__lt) if id__lt else None, after=UUID(id__gt) if id__gt else None)

    def __getitem__(self, part: slice) -> list[dict[str, Any]]:
        """The rows of a page, each with `usecases`: those that use it and that the actor may see. Four queries at most."""
        size = next((s for s in SIZES if s >= part.stop), SIZES[-1])
        ids, linked = _named(self.actor)
        build = _listing(self.governed, self.backwards, self.before is not None, self.after is not None, linked, size)
        found = composed.exactly(build, self.actor, [ids, self.before, self.after])[part]
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in found]
        uses = _usecases(self.actor, [row["id"] for row in rows if row["governed"]])
        return [_row(row, uses.get(row["id"], [])) for row in rows]


def _row(row: dict[str, Any], uses: list[dict[str, Any]]) -> dict[str, Any]:
    """As `ModelSerializer` says it."""
    tags = row["tags"]
    return {
        "id": row["id"], "name": row["name"], "description": row["description"], "owner": row["owner__email"], "author": row["author"],
        "tags": json.loads(tags) if isinstance(tags, str) else tags, "governed": row["governed"], "usecases": uses,
        **{name: row[name] for name in COLUMNS[7:]},
    }  # fmt: skip


@cache
def _listing(governed: bool | None, backwards: bool, before: bool, after: bool, linked: bool, size: int) -> composed.Build:
    """What composes one kind of list; values: ids of models that were asked for first, and the positions."""

    def build(actor: Actor, values: list[Any]) -> QuerySet[Any, Any]:
        rows = RegisteredModel.objects.all()
        if not actor.sees_everything:
            rows = rows.filter(models_seen(actor, named=_OneOf(F("id"), Value(values[0])), linked=linked))
        if before:
            rows = rows.filter(_Before(F("id"), Value(values[1])))
        if after:
            rows = rows.filter(_After(F("id"), Value(values[2])))
        rows = selectors.with_figures(rows, governed=governed)
        return rows.order_by("-id" if backwards else "id").values_list(*COLUMNS)[:size]

    return build


def _named(actor: Actor) -> tuple[list[UUID], bool]:
    """As `governance.named_models`."""
    if actor.sees_everything:
        return [], False
    ids = [UUID(str(pk)) for (pk,) in composed.exactly(_granted, actor, [])]
    if works_with_models(actor):
        return ids, False
    few = [pk for (pk,) in composed.exactly(_linked, actor, [])]
    return (ids + few, True) if len(few) <= MOST_NAMED else (ids, False)


def _granted(actor: Actor, values: list[Any]) -> QuerySet[Any, Any]:
    return granted_rows(actor, "view")


def _linked(actor: Actor, values: list[Any]) -> QuerySet[Any, Any]:
    return usecase_scope(actor).seen_links().order_by().values_list("model_id")[: MOST_NAMED + 1]


def _usecases(actor: Actor, ids: list[Any]) -> dict[Any, list[dict[str, Any]]]:
    """Model id -> its use cases, by name."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for model_id, usecase_id, slug, name in composed.exactly(_references, actor, [ids]) if ids else []:
        found.setdefault(model_id, []).append({"id": str(usecase_id), "slug": slug, "name": name})
    return found


def _references(actor: Actor, values: list[Any]) -> QuerySet[Any, Any]:
    return usecase_scope(actor).seen_references().filter(_OneOf(F("model_id"), Value(values[0])))
