"""What evaluations, bias audits and scans can say about a gate's subject. Part of `evidence.py`, which lists them."""

from typing import Any

from apps.core.canonical import digest_of
from apps.core.evidence import CheckResult, EvidenceSubject, failed, missing, passed
from apps.registry.models import ModelVersion
from apps.registry.rules.evaluations import worst
from apps.registry.selectors import evaluations as reads
from apps.registry.selectors import scans, signing_keys


def _source(version: ModelVersion) -> str:
    return f"/api/v1/models/{version.model.name}/versions/{version.version}/evaluations/"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def bias_within_bound(version: ModelVersion, subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """No group is selected less often, against another, than the bound (four fifths unless the policy says otherwise).

    Source of the bound: Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4(D).
    """
    audits = reads.in_force(version, "bias_audit")
    bound, asked_for = parameters["least_ratio"], _names(parameters["attributes"])
    what = "lower end of the 95% interval of the ratio" if parameters["by_interval"] else "ratio"
    more = {
        "asked": f"{what} at least {bound:g}" + (f" for {', '.join(asked_for)}" if asked_for else ""), "source": _source(version),
        "source_digest": digest_of([a.digest for a in audits]), "threshold": bound,
    }  # fmt: skip
    if not audits:
        return missing(f"No bias audit is attached to {version.label}. Attach one by subgroup on the version's evaluations page.", **more)
    rows = [row for audit in audits for row in audit.figures["groups"]]
    if lacking := [name for name in asked_for if name not in {r["attribute"] for r in rows}]:
        return failed(f"{len(rows)} groups", f"No audit looks at {', '.join(lacking)}. Attach one that does.", **more)
    if asked_for:
        rows = [r for r in rows if r["attribute"] in asked_for]
    if small := [f"{r['attribute']} {r['group']} ({r['n']})" for r in rows if r["n"] < parameters["least_n"]]:
        return failed(
            f"{len(small)} groups too small",
            f"Too few cases to judge: {', '.join(small[:5])}. At least {parameters['least_n']} each.",
            **more,
        )
    found = worst(rows)
    if found is None:
        return missing("The audit compares no groups. Attach one with at least two groups of an attribute.", **more)
    figure = found["low"] if parameters["by_interval"] else found["least"]
    upper = min(found["high"], 1e9)
    told = f"{found['least']:.3g} ({found['low']:.3g} to {upper:.3g}), {found['attribute']}: {found['group']} against {found['reference']}"
    more["figure"] = float(figure)
    if figure < bound:
        return failed(
            told, "Find out why, mend the model or its threshold, and attach a new audit; or have the bound decided anew.", **more
        )
    return passed(told, **more)


def evaluation_not_worse(version: ModelVersion, subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """Every figure that says which way is better is, on the same data, not worse than that of the version in production."""
    other = reads.in_production(version, usecase_id=subject.usecase_id, at=subject.as_of)
    mine = {(e.name, f["name"]): (e, f) for e in reads.in_force(version, "evaluation") for f in e.figures["metrics"]}
    more: dict[str, Any] = {
        "asked": f"not worse than the version in production by more than {parameters['margin']:g}", "source": _source(version),
        "threshold": -parameters["margin"],
    }  # fmt: skip
    if not mine:
        return missing(f"No evaluation is attached to {version.label}. Attach one on the version's evaluations page.", **more)
    if other is None:
        return passed("no other version is in production", **more, source_digest=digest_of([e.digest for e, _ in mine.values()]))
    theirs = {(e.name, f["name"]): (e, f) for e in reads.in_force(other, "evaluation") for f in e.figures["metrics"]}
    more["source_digest"] = digest_of([sorted({e.digest for e, _ in mine.values()}), sorted({e.digest for e, _ in theirs.values()})])
    wanted = _names(parameters["metrics"])
    shared = [k for k in sorted(mine) if k in theirs and (k[1] in wanted if wanted else bool(mine[k][1]["better"]))]
    found = f"{len(shared)} figures against {other.label}"
    if lacking := [name for name in wanted if name not in {k[1] for k in shared}]:
        return failed(found, f"Not in an evaluation of both versions under the same name: {', '.join(lacking)}. Attach it to both.", **more)
    if not shared:
        return failed(
            found,
            f"No evaluation of both versions has a figure that says which way is better. Evaluate {other.label} the same way.",
            **more,
        )
    if undirected := [k[1] for k in shared if not mine[k][1]["better"]]:
        return failed(found, f"Nobody said which way is better: {', '.join(undirected)}. Say it in the evaluation (better).", **more)
    if parameters["same_data"]:
        unlike = [k[1] for k in shared if mine[k][0].dataset_id is None or mine[k][0].dataset_id != theirs[k][0].dataset_id]
        if unlike:
            return failed(found, f"Not measured on the same named dataset: {', '.join(unlike[:5])}. Evaluate both on one dataset.", **more)
    gains = {k: _gain(mine[k][1], theirs[k][1]) for k in shared}
    key = min(gains, key=lambda k: gains[k])
    more["figure"] = gains[key]
    told = f"{found}; {key[1]} {mine[key][1]['value']:.4g} against {theirs[key][1]['value']:.4g}"
    if gains[key] < -parameters["margin"] - 1e-12:
        return failed(told, "It is worse than what it would replace. Improve it, or have the margin decided anew.", **more)
    return passed(told, **more)


def _gain(mine: dict[str, Any], theirs: dict[str, Any]) -> float:
    difference = float(mine["value"] - theirs["value"])
    return difference if mine["better"] == "higher" else -difference


def artifact_scanned(version: ModelVersion, subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """These very files were scanned, and nothing in them is known to run harmful code when it is loaded."""
    scan = scans.newest(version)
    asked = (
        "scanned, nothing unsafe"
        + ("" if parameters["allow_pickle"] else ", no pickle")
        + ("" if parameters["allow_warnings"] else ", no warning")
    )
    more: dict[str, Any] = {"asked": asked, "source": f"/api/v1/models/{version.model.name}/versions/{version.version}/scans/"}
    if scan is None or scan.artifact_digest != version.artifact_digest or scan.verdict == "failed":
        why = f" The last scan failed: {scan.detail}" if scan is not None and scan.verdict == "failed" else ""
        return missing(f"The files of {version.label} have not been scanned.{why} Ask for a scan on the version's page.", **more)
    more["source_digest"] = digest_of([scan.artifact_digest, str(scan), scan.findings])
    pickles = sorted({f["path"] for f in scan.findings if f["what"].startswith("It is a pickle")})
    warnings = [f for f in scan.findings if f["level"] == "warning"]
    unsafe = [f for f in scan.findings if f["level"] == "unsafe"]
    found = f"{scan.verdict} ({scan.tool} {scan.tool_version}): {len(scan.files)} files, {len(pickles)} with a pickle"
    if unsafe:
        return failed(found, f"{unsafe[0]['path']}: {unsafe[0]['what']} Register a new version without it.", **more)
    if pickles and not parameters["allow_pickle"]:
        return failed(found, f"{pickles[0]} is a pickle. Save the model in a format that runs no code (skops, safetensors, ONNX).", **more)
    if warnings and not parameters["allow_warnings"]:
        return failed(found, f"{warnings[0]['path']}: {warnings[0]['what']} Look at it, or save the model in another format.", **more)
    return passed(found, **more)


def signature_verified(version: ModelVersion, subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """A key that administrators trust now has signed the files, and they are as they were signed."""
    scan, wanted = scans.newest(version), _names(parameters["keys"])
    by = f" of {', '.join(wanted)}" if wanted else " that is trusted"
    what = "every file" if parameters["whole"] else "the files"
    more: dict[str, Any] = {
        "asked": f"{what} signed by a key{by}", "source": f"/api/v1/models/{version.model.name}/versions/{version.version}/scans/",
    }  # fmt: skip
    judged = signing_keys.judged(scan)
    if scan is None or judged is None or scan.artifact_digest != version.artifact_digest:
        return missing(f"The files of {version.label} have not been scanned for a signature. Ask for a scan on the version's page.", **more)
    if judged.state == "none":
        return missing("No signature is among the files. Sign the model's folder with model_signing, then register a new version.", **more)
    more["source_digest"] = digest_of([scan.artifact_digest, scan.signature, judged.state, judged.key])
    found = f"{judged.state}: {judged.key}" if judged.key else judged.state
    enough = {"verified"} if parameters["whole"] else {"verified", "partly"}
    if judged.state not in enough:
        return failed(found, judged.words, **more)
    if wanted and judged.key not in wanted:
        return failed(
            found, f"{judged.key} is trusted, and the policy asks for {' or '.join(wanted)}. Have it signed with that key.", **more
        )
    return passed(found, **more)
