"""What the registry can say about a gate's subject."""

from collections.abc import Callable
from typing import Any

from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.evidence import Check, CheckResult, EvidenceSubject, Parameter, failed, missing, passed
from apps.registry import evidence_evaluations as more_checks
from apps.registry import rules, selectors
from apps.registry.models import ModelVersion
from apps.registry.selectors import cards

READER = Actor.system("gate evidence")
NO_VERSION = "The gate names no model version. Choose one when you open it."


def _about_version(
    evaluate: Callable[[ModelVersion, EvidenceSubject, dict[str, Any]], CheckResult],
) -> Callable[[EvidenceSubject, dict[str, Any]], CheckResult]:
    """A check that needs a version: says so when the subject has none."""

    def wrapped(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
        if not subject.model_version_id:
            return missing(NO_VERSION)
        return evaluate(selectors.version_by_id(READER, subject.model_version_id), subject, parameters)

    return wrapped


def _source(version: ModelVersion) -> str:
    return f"/api/v1/models/{version.model.name}/versions/{version.version}/"


@_about_version
def card_complete(version: ModelVersion, subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """Every part of the card that is needed, or that the policy asks for beside them, is written; figures have intervals if it asks so."""
    card = selectors.card_fields(version)
    also = [name.strip() for name in parameters["parts"].split(",") if name.strip()]
    if unknown := [name for name in also if name not in {*rules.CARD_FIELDS, "all"}]:
        return failed(
            "", f"The policy asks for {unknown[0]!r}, which is no part of a card. Its owner can choose of {', '.join(rules.CARD_FIELDS)}."
        )
    wanted = [n for n in rules.CARD_FIELDS if n in rules.CARD_NEEDED or n in also or "all" in also]
    lacking = rules.missing_in_card(card, wanted)
    figures = cards.figures(version) if parameters["intervals"] else []
    bare = sorted({str(f["name"]) for f in figures if f.get("low") is None or f.get("high") is None})
    more = {
        "asked": f"all {len(wanted)} needed fields" + (", and figures with intervals" if parameters["intervals"] else ""),
        "source": f"{_source(version)}card/", "source_digest": digest_of([card, figures] if figures else card),
        "figure": float(len(wanted) - len(lacking)), "threshold": float(len(wanted)),
    }  # fmt: skip
    found = f"{len(wanted) - len(lacking)} of {len(wanted)} fields filled in"
    if lacking:
        return failed(found, f"Fill in {', '.join(name.replace('_', ' ') for name in lacking)} on the model card.", **more)
    if parameters["intervals"] and (bare or not figures):
        which = f" for {', '.join(bare[:5])}" if bare else ""
        return failed(found, f"The card prints no interval{which}. Attach an evaluation with counts, intervals or standard errors.", **more)
    return passed(found, **more)


def _metrics(count: int) -> str:
    return f"{count} metric{'' if count == 1 else 's'}"


@_about_version
def evaluation_present(version: ModelVersion, subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """The run logged enough metrics (those asked for among them) and read a dataset other than the training data."""
    metrics = {k: v for k, v in version.metrics.items() if v is not None}
    wanted = [name.strip() for name in parameters["metrics"].split(",") if name.strip()]
    contexts = sorted({i.context for i in version.inputs.all() if i.context not in {"", "training", "train"}})
    among = f", among them {', '.join(wanted)}," if wanted else ""
    more = {
        "asked": f"at least {_metrics(int(parameters['least']))}{among} on data the model did not learn from",
        "source": _source(version), "source_digest": digest_of({"metrics": version.metrics, "contexts": contexts}),
        "figure": float(len(metrics)), "threshold": float(parameters["least"]),
    }  # fmt: skip
    if not metrics:
        return missing("The run behind the version logged no metrics. Log the evaluation with mlflow.log_metrics.", **more)
    found = _metrics(len(metrics)) + (f" on {', '.join(contexts)} data" if contexts else "")
    lacking = [name for name in wanted if name not in metrics]
    if lacking or len(metrics) < parameters["least"]:
        named = f" ({', '.join(lacking)})" if lacking else ""
        return failed(found, f"Log the metrics that are missing{named} in a run, then register a new version.", **more)
    if not contexts:
        return failed(
            found, "The run names no dataset but training data. Log the evaluation data with mlflow.log_input and its context.", **more
        )
    return passed(found, **more)


@_about_version
def lineage_complete(version: ModelVersion, subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """Dataset, run, author, signature and pinned requirements are all known."""
    loose = rules.unpinned(version.requirements)
    gaps = [
        remedy
        for known, remedy in (
            (version.run_id, "the run that made it"),
            (version.inputs.all(), "a dataset (mlflow.log_input)"),
            (version.author, "who registered it (register through the portal's MLflow endpoint)"),
            (version.signature.get("inputs"), "the signature of its inputs"),
            (version.requirements.strip(), "its requirements"),
            (not loose, f"fixed versions of {', '.join(loose[:5])}"),
        )
        if not known
    ]
    more = {
        "asked": "dataset, run, author, signature and pinned requirements", "source": f"{_source(version)}lineage/",
        "source_digest": digest_of([selectors.lineage(version), version.requirements, version.signature, version.author]),
    }  # fmt: skip
    found = f"{len(version.inputs.all())} datasets, run {version.run_name or version.run_id or 'unknown'}, by {version.author or 'unknown'}"
    if gaps:
        return failed(found, f"Missing: {'; '.join(gaps)}.", **more)
    return passed(found, **more)


@_about_version
def digest_known(version: ModelVersion, subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """All files were read and digested, the gate is about that digest, and they have not changed since."""
    more = {"asked": "one digest over all files, unchanged", "source": _source(version), "source_digest": version.artifact_digest}
    if not version.artifact_digest:
        why = f" {version.detail}" if version.detail else ""
        return missing(
            f"The files of {version.label} have not been digested ({version.status}).{why} Ask for a fresh reading of the version.", **more
        )
    found = version.artifact_digest
    if version.status != "ready":
        return failed(found, f"The files are no longer those that were digested. {version.detail} Register a new version.", **more)
    if subject.artifact_digest and subject.artifact_digest != version.artifact_digest:
        return failed(found, f"The gate is about {subject.artifact_digest}, not about this version's files. Open a new gate.", **more)
    return passed(found, **more)


CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check(
            "registry.card_complete", "The model card is complete", card_complete,
            {
                "parts": Parameter(str, "", "parts asked for beside those that always are, separated by commas, such as explainability; or all"),
                "intervals": Parameter(bool, False, "every figure that the card prints has an interval"),
            },
        ),
        Check(
            "registry.evaluation_present", "The model was evaluated on data it did not learn from", evaluation_present,
            {
                "least": Parameter(int, 1, "fewest metrics the run must have logged", 1, 1000),
                "metrics": Parameter(str, "", "names of metrics that must be there, separated by commas"),
            },
        ),
        Check("registry.lineage_complete", "Data, run, author and requirements are known", lineage_complete),
        Check(
            "registry.bias_within_bound", "No group is treated much worse than another", _about_version(more_checks.bias_within_bound),
            {
                "least_ratio": Parameter(float, 0.8, "smallest ratio of selection rates between two groups (the four-fifths rule)", 0.0, 1.0),
                "by_interval": Parameter(bool, False, "hold the lower end of the 95% interval against the bound, not the ratio itself"),
                "least_n": Parameter(int, 1, "fewest cases a group must have to be judged", 1, 1_000_000),
                "attributes": Parameter(str, "", "attributes that must be audited, separated by commas"),
            },
        ),
        Check(
            "registry.evaluation_not_worse", "The model is not worse than the version in production",
            _about_version(more_checks.evaluation_not_worse),
            {
                "margin": Parameter(float, 0.0, "how much worse a figure may be, in its own unit", 0.0, 1_000_000.0),
                "metrics": Parameter(str, "", "figures that are compared, separated by commas; empty: all that say which way is better"),
                "same_data": Parameter(bool, True, "both evaluations must name the same dataset"),
            },
        ),
        Check(
            "registry.artifact_scanned", "The files were scanned for code that runs when they are loaded", _about_version(more_checks.artifact_scanned),
            {
                "allow_pickle": Parameter(bool, True, "pickles may be among the files; false: only formats that run no code when loaded"),
                "allow_warnings": Parameter(bool, True, "names the scanner does not know are no reason to fail"),
            },
        ),
        Check(
            "registry.signature_verified", "The files are signed by a key that is trusted", _about_version(more_checks.signature_verified),
            {
                "keys": Parameter(str, "", "names of the keys that count, separated by commas; empty: all that are trusted"),
                "whole": Parameter(bool, True, "every file has to be signed; false: the signed ones are enough"),
            },
        ),
        Check("registry.digest_known", "The artifact is digested and unchanged", digest_known),
    )
}  # fmt: skip
