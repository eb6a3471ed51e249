"""One search over models, versions, tags, cards, failure modes and datasets, filtered by who asks.

The text vectors and their indexes are made by the migration `one_search_box`; each kind is one query, the best of it first.
"""

import re
from dataclasses import dataclass
from typing import Any

from django.db.models import BooleanField, FloatField, QuerySet
from django.db.models.expressions import RawSQL

from apps.core.actor import Actor
from apps.core.errors import Invalid
from apps.registry.models import FailureMode, GovernedDataset, ModelCard, ModelVersion, RegisteredModel
from apps.registry.selectors import datasets

MOST_WORDS, MOST_CHARACTERS = 8, 200
EACH = 20


@dataclass(frozen=True, slots=True)
class Hit:
    """Something found. model and version, or dataset_id, say where it is; `text` is what a person reads of it."""

    kind: str
    title: str
    text: str
    rank: float
    model: str = ""
    version: int | None = None
    dataset_id: Any = None
    failure_id: Any = None


def asked(text: str) -> str:
    """The words as a query for PostgreSQL: all of them, each as the beginning of a word. "" when there are none; Invalid when too long."""
    if len(text) > MOST_CHARACTERS:
        raise Invalid(f"q: at most {MOST_CHARACTERS} characters.", errors={"q": ["Too long."]})
    words = re.findall(r"\w+", text.replace("_", " "))[:MOST_WORDS]
    return " & ".join(f"{word}:*" for word in words)


def search(actor: Actor, text: str) -> list[Hit]:
    """What the actor may see that holds all the words, best first, at most 20 of a kind; seven queries however much there is."""
    query = asked(text)
    if not query:
        return []
    hits: list[Hit] = []
    whole = text.strip().casefold()
    for model in _found(RegisteredModel.objects.visible_to(actor), query):
        hits.append(
            Hit("model", model.name, model.description, model.rank + (2 if model.name.casefold() == whole else 1), model=model.name)
        )
    for version in _found(ModelVersion.objects.visible_to(actor).select_related("model"), query):
        said = (
            version.description
            or ", ".join(f"{k}={v}" for k, v in list(version.tags.items()) if not k.startswith("mlflow."))[:160]
            or version.run_name
        )
        hits.append(Hit("version", version.label, said, version.rank, model=version.model.name, version=version.version))
    seen = ModelVersion.objects.visible_to(actor).values("id")
    for card in _found(ModelCard.objects.filter(version__in=seen).select_related("version__model"), query):
        where = card.version
        hits.append(Hit("card", f"Card of {where.label}", card.intended_use, card.rank, model=where.model.name, version=where.version))
    for failure in _found(FailureMode.objects.visible_to(actor).select_related("model"), query):
        hits.append(Hit("failure mode", failure.title, failure.condition, failure.rank, model=failure.model.name, failure_id=failure.id))
    visible = datasets.visible(actor)
    named = {d.name: d for d in _found(visible, query)}
    for governed in _found(GovernedDataset.objects.filter(name__in=visible.values("name")), query):
        newest = named.get(governed.name) or visible.filter(name=governed.name).order_by("-id").first()
        if newest is not None:
            named[governed.name] = newest
    hits += [Hit("dataset", d.name, f"digest {d.digest}", getattr(d, "rank", 0.1) + 0.5, dataset_id=d.id) for d in named.values()]
    return sorted(hits, key=lambda h: (-h.rank, h.title))


def _found(rows: QuerySet[Any], query: str) -> QuerySet[Any]:
    table = rows.model._meta.db_table
    matches = RawSQL(f"{table}.search @@ to_tsquery('simple', %s)", [query], output_field=BooleanField())  # noqa: S611 - our own table's name
    rank = RawSQL(f"ts_rank({table}.search, to_tsquery('simple', %s))", [query], output_field=FloatField())  # noqa: S611
    return rows.filter(matches).annotate(rank=rank).order_by("-rank", "-id")[:EACH]
