"""Model cards: their fields, what gates need of them, what a run can say by itself, and how a card reads elsewhere.

The fields follow Mitchell et al., "Model Cards for Model Reporting" (2019), with what people who operate a model also ask for.
"""

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from apps.core.errors import Invalid

if TYPE_CHECKING:
    from apps.registry.rules import VersionFacts

CARD_FIELDS = {
    "intended_use": "what it is for and who uses it",
    "out_of_scope": "what it must not be used for",
    "limitations": "where it is known to be wrong or weak",
    "training_data": "which data it learned from",
    "evaluation": "how it was judged, on which data, with which result",
    "explainability": "how a person can see why it answered so",
    "ethical": "who may be harmed or treated unfairly, and what was done about it",
    "hardware": "what it needs to run: memory, processor or GPU, and how fast it then is",
    "instructions": "how to call it and how to read the answer",
    "owner_contact": "whom to ask",
}
CARD_TITLES = {
    "intended_use": "Intended use",
    "out_of_scope": "Out of scope",
    "limitations": "Limitations",
    "training_data": "Training data",
    "evaluation": "Evaluation",
    "explainability": "Explainability",
    "ethical": "Ethical considerations",
    "hardware": "Hardware needs",
    "instructions": "Instructions for use",
    "owner_contact": "Owner and contact",
}
CARD_NEEDED = ("intended_use", "out_of_scope", "limitations", "training_data", "evaluation", "ethical", "owner_contact")
CARD_LEAST_WORDS = 3
CARD_MOST_CHARACTERS = 20_000
# Whom a run of MLflow's names as its maker, and what an import leaves on what it brought along.
USER_TAG, IMPORTED_TAG = "mlflow.user", "imported.from"
# MLflow's flavour -> the library's name at Hugging Face.
LIBRARIES = {"sklearn": "sklearn", "xgboost": "xgboost", "lightgbm": "lightgbm", "catboost": "catboost", "pytorch": "pytorch",
             "tensorflow": "tf-keras", "keras": "keras", "transformers": "transformers", "onnx": "onnx", "spacy": "spacy",
             "sentence_transformers": "sentence-transformers", "fastai": "fastai"}  # fmt: skip


def check_card(fields: Mapping[str, Any]) -> None:
    """Known fields with text of bearable length."""
    if unknown := sorted(set(fields) - set(CARD_FIELDS)):
        raise Invalid(
            f"{unknown[0]}: not a field of a model card. Known: {', '.join(CARD_FIELDS)}.", errors={unknown[0]: ["Unknown field."]}
        )
    for name, text in fields.items():
        if not isinstance(text, str) or len(text) > CARD_MOST_CHARACTERS or "\x00" in text:
            raise Invalid(f"{name}: give text of at most {CARD_MOST_CHARACTERS:,} characters.", errors={name: ["Not such a text."]})


def card_texts(card: Any) -> dict[str, str]:
    """Field -> text of a card, given as a mapping or as an object with those attributes."""
    if isinstance(card, Mapping):
        return {name: str(card.get(name) or "") for name in CARD_FIELDS}
    return {name: str(getattr(card, name, "") or "") for name in CARD_FIELDS}


def missing_in_card(card: Any, wanted: Iterable[str] = CARD_NEEDED) -> list[str]:
    """Fields of those wanted that are empty or hold fewer than three words, in the order people fill them in."""
    texts = card_texts(card)
    return [name for name in wanted if len(texts[name].split()) < (1 if name == "owner_contact" else CARD_LEAST_WORDS)]


@dataclass(frozen=True, slots=True)
class Completeness:
    """How far a card is: needed fields filled in, of all needed ones, and which are missing."""

    filled: int
    total: int
    missing: tuple[str, ...]


def completeness(card: Any) -> Completeness:
    """How far a card (mapping or object) is."""
    lacking = missing_in_card(card)
    return Completeness(len(CARD_NEEDED) - len(lacking), len(CARD_NEEDED), tuple(lacking))


def logged_by(tags: Mapping[str, str], *, registered_by: str) -> str:
    """Address or login name of who logged a version: whoever registered it here, for an import whom its run names; "" where nobody says."""
    said = str(tags.get(USER_TAG) or "").strip()
    return said or registered_by if IMPORTED_TAG in tags else registered_by or said


def prefilled_card(facts: "VersionFacts", *, contact: str = "") -> dict[str, str]:
    """What the run itself says for a card: data, evaluation, hardware, use; and whom to ask. People edit it; it never overwrites what they wrote."""
    out: dict[str, str] = {"owner_contact": contact} if contact else {}
    if facts.datasets:
        out["training_data"] = "\n".join(
            f"{d.context or 'input'}: {d.name}, digest {d.digest}"
            + (f", {d.profile['num_rows']:,} rows" if isinstance(d.profile.get("num_rows"), int) else "")
            for d in facts.datasets
        )
    known = {k: v for k, v in facts.metrics.items() if v is not None}
    if known:
        out["evaluation"] = "Logged by the run:\n" + "\n".join(f"{name}: {value:.6g}" for name, value in sorted(known.items()))
    if facts.sizes:
        out["hardware"] = f"Its files take {sum(facts.sizes.values()) / 1e6:,.1f} MB" + (
            f"; flavour {facts.flavor}." if facts.flavor else "."
        )
    sides = {side: ", ".join(_column(c) for c in facts.signature.get(side) or []) for side in ("inputs", "outputs")}
    if sides["inputs"]:
        out["instructions"] = f"Send rows with {sides['inputs']}." + (f" It answers {sides['outputs']}." if sides["outputs"] else "")
    return {name: text[:CARD_MOST_CHARACTERS] for name, text in out.items()}


def _column(column: Mapping[str, Any]) -> str:
    name, kind = str(column.get("name") or ""), str(column.get("type") or "")
    return f"{name} ({kind})" if name and kind else name or kind or "a value"


@dataclass(frozen=True, slots=True)
class CardDocument:
    """A card with all that an export says. figures: rows as rules.evaluations.figure_row makes them; datasets: (name, digest, context)."""

    model: str
    version: int
    revision: int
    digest: str
    artifact_digest: str
    texts: dict[str, str]
    figures: tuple[Mapping[str, Any], ...] = ()
    datasets: tuple[tuple[str, str, str], ...] = ()
    flavor: str = ""
    licence: str = ""
    tags: tuple[str, ...] = ()
    saved_by: str = ""
    saved_at: str = ""

    @property
    def title(self) -> str:
        """Name and number."""
        return f"{self.model}, version {self.version}"


def hugging_face_metadata(card: CardDocument) -> dict[str, Any]:
    """The metadata of a model card at Hugging Face, `model-index` included.

    Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. `task.type` is needed there; a figure that names no
    task is a result of `other`. An interval has no field of its own, so it is in the metric's name and its `args`.
    """
    out: dict[str, Any] = {}
    if library := LIBRARIES.get(card.flavor):
        out["library_name"] = library
    if card.licence:
        out["license"] = card.licence
    out["tags"] = sorted({"gatehouse", *card.tags})
    if names := sorted({name for name, _, _ in card.datasets}):
        out["datasets"] = names
    metrics = sorted({str(f["name"]) for f in card.figures})
    if metrics:
        out["metrics"] = metrics
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for figure in card.figures:
        groups.setdefault((str(figure.get("task") or "other"), str(figure.get("dataset") or "")), []).append(figure)
    results = [
        {
            "task": {"type": task},
            "dataset": {"type": dataset or "unknown", "name": dataset or "not named"},
            "metrics": [_metric(f) for f in rows],
        }
        for (task, dataset), rows in sorted(groups.items())
    ]
    if results:
        out["model-index"] = [{"name": card.model, "results": results}]
    return out


def _metric(figure: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"type": str(figure["name"]), "value": figure["value"], "name": str(figure["name"])}
    if figure.get("low") is not None and figure.get("high") is not None:
        row["name"] += f" (95% interval {figure['low']:.4g} to {figure['high']:.4g})"
        row["args"] = {"ci95_low": figure["low"], "ci95_high": figure["high"]}
    return row


def as_markdown(card: CardDocument) -> str:
    """The card as Markdown with Hugging Face's metadata at its head."""
    head = yaml.safe_dump(hugging_face_metadata(card), sort_keys=False, allow_unicode=True).strip()
    parts = [f"---\n{head}\n---", f"# {_plain(card.title)}", _about(card)]
    for field, title in CARD_TITLES.items():
        parts.append(f"## {title}\n\n{_block(card.texts.get(field, '')) or '*Not written.*'}")
        if field == "evaluation" and card.figures:
            rows = [f"| {_cell(f['name'])} | {f['value']:.4g} | {_interval(f)} | {_cell(f.get('dataset') or '–')} |" for f in card.figures]
            parts.append("\n".join(["| metric | value | 95% interval | on |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _about(card: CardDocument) -> str:
    saved = (
        f"Revision {card.revision}"
        + (f", saved by {_plain(card.saved_by)}" if card.saved_by else "")
        + (f" at {card.saved_at}" if card.saved_at else "")
    )
    return f"{saved}. Files `{card.artifact_digest or 'not digested'}`, card `{card.digest}`."


def _plain(text: str) -> str:
    return " ".join(text.split())


def _cell(text: Any) -> str:
    return _plain(str(text)).replace("|", "\\|")


def _block(text: str) -> str:
    """Text that cannot open a heading or a metadata block of its own."""
    lines = text.strip().replace("\r", "").split("\n")
    return "\n".join(
        "\\" + line if line.lstrip()[:1] in {"#", "-", "="} and (line.startswith(("#", "---", "==="))) else line for line in lines
    )


def _interval(figure: Mapping[str, Any]) -> str:
    low, high = figure.get("low"), figure.get("high")
    return f"{low:.4g} to {high:.4g}" if low is not None and high is not None else "–"


STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; break-after: avoid; }
.text { white-space: pre-wrap; } .about, .none { color: GrayText; font-size: .85rem; }
table { border-collapse: collapse; width: 100%; margin-top: .6rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid; border-color: color-mix(in srgb, currentColor 20%, transparent); }
.num { text-align: right; }
@media print { body { margin: 0; max-width: none; font-size: 11pt; } section { break-inside: avoid; } @page { margin: 18mm; } }
""".strip()


def as_html(card: CardDocument) -> str:
    """The card as one HTML file that needs no network: its style is inside, it has no script, and it prints well."""
    sections = []
    for field, title in CARD_TITLES.items():
        text = card.texts.get(field, "").strip()
        body = f'<p class="text">{html.escape(text)}</p>' if text else '<p class="none">Not written.</p>'
        more = _html_figures(card.figures) if field == "evaluation" and card.figures else ""
        sections.append(f"<section><h2>{title}</h2>{body}{more}</section>")
    if card.datasets:
        rows = "".join(f"<tr>{_td(name)}{_td(context or 'input')}{_td(digest)}</tr>" for name, digest, context in card.datasets)
        sections.append(f"<section><h2>Datasets</h2><table><tr><th>Dataset</th><th>Part</th><th>Digest</th></tr>{rows}</table></section>")
    title = html.escape(f"Model card of {card.title}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"
        f'<p class="about">{html.escape(_about(card)).replace("`", "")}</p>{"".join(sections)}</body></html>\n'
    )


def _td(text: Any) -> str:
    return f"<td>{html.escape(str(text))}</td>"


def _html_figures(figures: Iterable[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr>{_td(f["name"])}<td class="num">{f["value"]:.4g}</td><td>{_interval(f)}</td>{_td(f.get("dataset") or "–")}</tr>'
        for f in figures
    )
    return f'<table><tr><th>Metric</th><th class="num">Value</th><th>95% interval</th><th>On</th></tr>{rows}</table>'
