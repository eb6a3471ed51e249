"""Versions of one model side by side."""

from dataclasses import dataclass
from typing import Any

from apps.core.actor import Actor
from apps.core.errors import Invalid
from apps.registry import rules, selectors
from apps.registry.models import ModelVersion
from apps.registry.rules import compare as differences
from apps.registry.selectors import cards


@dataclass(slots=True)
class CardPart:
    """A field of the card: its text in the first version, and for each other version what differs."""

    field: str
    title: str
    first: str
    others: list[list[differences.Piece]]

    @property
    def same(self) -> bool:
        """Whether all texts agree."""
        return all(kind == "same" for pieces in self.others for kind, _ in pieces)


@dataclass(slots=True)
class Comparison:
    """2 to 4 versions of a model; each row has a value a version, in the order asked for. The first is what others are compared with."""

    versions: list[ModelVersion]
    facts: list[differences.Row]
    params: list[differences.Row]
    metrics: list[differences.FigureRow]
    data: list[differences.Row]
    requirements: list[differences.Row]
    signature: list[differences.Row]
    evaluations: list[differences.FigureRow]
    card: list[CardPart]


def compare(actor: Actor, name: str, numbers: list[str]) -> Comparison:
    """Compare versions of a model the actor may see. Invalid when not 2 to 4 different numbers; NotFound for a version out of sight."""
    wanted = [n.strip() for n in numbers if n.strip()]
    if not differences.LEAST <= len(wanted) <= differences.MOST or len(set(wanted)) != len(wanted) or not all(n.isdigit() for n in wanted):
        raise Invalid(
            f"versions: name {differences.LEAST} to {differences.MOST} different versions of the model, such as versions=1,2.",
            errors={"versions": ["Not 2 to 4 different version numbers."]},
        )
    found = [selectors.version(actor, name, n) for n in wanted]
    facts = [
        {"state": v.status, "flavour": v.flavor, "run": v.run_name or v.run_id, "author": v.author, "size in bytes": v.size_bytes,
         "digest": v.artifact_digest}
        for v in found
    ]  # fmt: skip
    texts = [selectors.card_fields(v) for v in found]
    return Comparison(
        versions=found,
        facts=differences.rows(facts),
        params=differences.rows([v.params for v in found]),
        metrics=differences.figure_rows([_metrics(v) for v in found]),
        data=differences.rows([_data(v) for v in found]),
        requirements=differences.rows([differences.requirement_pins(v.requirements) for v in found]),
        signature=differences.rows([_columns(v) for v in found]),
        evaluations=differences.figure_rows([_evaluations(v) for v in found]),
        card=[
            CardPart(f, title, texts[0][f], [differences.words_diff(texts[0][f], t[f]) for t in texts[1:]])
            for f, title in rules.CARD_TITLES.items()
        ],
    )


def _metrics(version: ModelVersion) -> dict[str, dict[str, Any]]:
    return {k: {"value": v, "low": None, "high": None, "better": ""} for k, v in version.metrics.items() if v is not None}


def _evaluations(version: ModelVersion) -> dict[str, dict[str, Any]]:
    return {f"{f['evaluation']}: {f['name']}": f for f in cards.figures(version) if f["evaluation"]}


def _data(version: ModelVersion) -> dict[str, str]:
    out: dict[str, list[str]] = {}
    for each in version.inputs.all():
        rows = each.dataset.profile.get("num_rows")
        out.setdefault(f"{each.context or 'input'}: {each.dataset.name}", []).append(
            f"digest {each.dataset.digest}" + (f", {rows:,} rows" if isinstance(rows, int) else "")
        )
    return {name: "; ".join(sorted(found)) for name, found in out.items()}


def _columns(version: ModelVersion) -> dict[str, str]:
    sides = (("in", "inputs"), ("out", "outputs"))
    return {
        f"{word}: {column.get('name') or index}": str(column.get("type", ""))
        for word, side in sides
        for index, column in enumerate(version.signature.get(side) or [])
    }
