"""Steps 1 to 3: the use case, two trained versions, the baseline without a model."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from statistics import fmean, variance
from typing import Any

from demo import story, traffic
from demo.portal import check, wait_for
from demo.steps.context import Context
from demo.steps.filed import file_plan
from demo.steps.gates import begin_gate, pass_gate

BASELINE_WEEKS = 12
WEEKS = "nobody called; a twelfth of the validation rows in the place of a week (the data hold no dates)"


def observations(key: str, rows: list[traffic.Row], decisions: list[int]) -> list[float]:
    """What one decision contributed to a measured KPI, in the KPI's unit: its mean is the KPI."""
    pairs = list(zip((r.label for r in rows), decisions, strict=True))
    if key == "cost_per_1k_usd":
        return [
            1000.0 * (story.MISS_USD if label and not called else story.FALSE_ALARM_USD if called and not label else 0.0)
            for label, called in pairs
        ]
    if key == "recall":
        return [float(called) for label, called in pairs if label]
    return [float(called) for _, called in pairs]


def write_use_case(ctx: Context) -> str:
    """Step 1: what is to be decided, for whom, with which demands; KPIs; the gate to proof of concept."""
    existing = {u["slug"] for u in ctx.auditor.pages("usecases/")}
    number = 1 + sum(1 for slug in existing if slug.startswith("care-outreach"))
    name = story.USE_CASE["name"] + (f" {number}" if number > 1 else "")
    ctx["model_name"] = f"{story.MODEL_NAME}-{number}" if number > 1 else story.MODEL_NAME
    made = ctx.engineer.post(
        "usecases/",
        {
            "name": name,
            "problem": story.USE_CASE["problem"],
            "decision_supported": story.USE_CASE["decision"],
            "output_users": story.USE_CASE["output_users"],
            "exposure": story.USE_CASE["exposure"],
            "purpose": story.USE_CASE["purpose"],
            "risk_reason": story.USE_CASE["risk_reason"],
            "currency": "USD",
            "owner": story.PEOPLE["owner"].email,
            "sponsor": story.PEOPLE["sponsor"].email,
            "requirements": {
                "latency_p99_ms": story.NFRS["latency_p99_ms"],
                "availability_pct": story.NFRS["availability_pct"],
                "freshness_hours": story.NFRS["freshness_hours"],
                "concurrent_users": int(story.NFRS["concurrent_users"]),
                "projected_rps": story.NFRS["projected_load_rps"],
                "peak_factor": 10.0,
            },
            "integrations": [
                {"name": i["name"], "direction": i["direction"], "owner": i["owner"], "note": i["detail"]} for i in story.INTEGRATIONS
            ],
        },
        key=f"{ctx.run}-usecase",
    )
    ctx["usecase"] = made["slug"]
    ctx["usecase_id"] = made["id"]
    ctx["usecase_name"] = made["name"]
    if not (ctx.rows / "validation.json").exists():
        ctx.run_in_kserve("demo.data", "--out", str(ctx.rows))
    file_plan(ctx, begin_gate(ctx, "poc"))
    ctx["kpis"] = {}
    baselines = _baseline_without_model(ctx)
    for kpi in story.KPIS:
        value = baselines.get(kpi.key, 0.0)  # figures, not percentages, where there is no baseline
        body: dict[str, Any] = {
            "usecase": made["slug"],
            "name": kpi.name,
            "slug": kpi.key.replace("_", "-"),
            "question": kpi.meaning,
            "dimension": kpi.kind,
            "unit": kpi.unit,
            "direction": "lower" if kpi.lower_is_better else "higher",
            "aggregation": "percentile" if kpi.key == "latency_p99_ms" else "mean",
            "target": kpi.target(value),
            "floor": kpi.floor(value),
            "cadence": "weekly",
            "source": kpi.source,
            "primary": kpi.key == "cost_per_1k_usd",
        }
        ctx["kpis"][kpi.key] = ctx.engineer.post("kpis/", body)["id"]
    seen = ctx.people["sponsor"].get(f"usecases/{made['slug']}/")
    check(seen["risk_tier"] == story.USE_CASE["risk_tier"], "exposure and purpose make the tier")
    check(seen["stage"] == "proposal" and seen["requirements"]["projected_rps"], "the sponsor sees a proposal with its demands")
    pass_gate(ctx, "poc")
    check(ctx.auditor.get(f"usecases/{made['slug']}/")["stage"] == "poc", "the use case is in proof of concept")
    return f"“{made['name']}” is in proof of concept, with {len(story.KPIS)} KPIs, {len(story.INTEGRATIONS)} integration points and its measurement plan filed"


def _baseline_without_model(ctx: Context) -> dict[str, float]:
    rows = traffic.load_rows(ctx.rows / "validation.json")
    decisions = [0] * len(rows)
    return {k.key: fmean(observations(k.key, rows, decisions)) for k in story.KPIS if k.has_baseline}


def train(ctx: Context) -> str:
    """Step 2: two versions with plain mlflow against the portal; card, digest, requirements and lineage read back."""
    out = ctx.run_in_kserve(
        "demo.train", "--model-name", ctx.model_name, "--experiment", ctx.model_name,
        MLFLOW_TRACKING_URI=ctx.stack["mlflow_url"], MLFLOW_TRACKING_TOKEN=ctx.account("engineer")["token"],
    )  # fmt: skip
    trained = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    check(len(trained) == 2, "two versions were registered")
    ctx["versions"] = {}
    for number, made in enumerate(trained, start=1):
        path = f"models/{made['name']}/versions/{made['version']}/"
        version = wait_for(
            f"{made['name']} version {made['version']} to be read",
            lambda path=path: _ready(ctx, path),  # type: ignore[misc]
        )
        check(version["run_id"] == made["run_id"], "the version names its run")
        check(
            version["artifact_digest"].startswith("sha256:") and "scikit-learn==" in version["requirements"],
            "digest and pinned requirements",
        )
        check({i["context"] for i in version["inputs"]} >= {"training", "validation"}, "lineage from both datasets")
        card = {
            "intended_use": story.MODEL_CARD["intended_use"],
            "out_of_scope": story.MODEL_CARD["not_for"],
            "limitations": story.MODEL_CARD["limits"],
            "training_data": story.MODEL_CARD["training_data"],
            "evaluation": f"Validation, {made['metrics']['validation_rows']:.0f} rows: {made['metrics']['validation_cost_per_1k_usd']:,.0f} USD per 1,000 decisions "
            f"(95% {made['metrics']['validation_cost_per_1k_usd_low95']:,.0f} to {made['metrics']['validation_cost_per_1k_usd_high95']:,.0f}).",
            "explainability": story.VERSION_NOTES[number],
            "ethical": story.USE_CASE["risk_reason"],
            "owner_contact": story.MODEL_CARD["contact"],
        }
        ctx.engineer.put(path + "card/", card)
        _evaluate(ctx, path, version, made["metrics"])
        again = ctx.auditor.get(path)
        check(again["card"]["completeness"] == 1, "the card is complete")
        ctx["versions"][number] = {
            "id": again["id"],
            "number": made["version"],
            "digest": again["artifact_digest"],
            "label": again["label"],
        }
    ctx.engineer.post(f"usecases/{ctx['usecase']}/models/", {"model": ctx.model_name})
    check(ctx.model_name in ctx.auditor.get(f"usecases/{ctx['usecase']}/")["models"], "the use case names its model")
    return f"{ctx.model_name} versions {', '.join(str(v['number']) for v in ctx['versions'].values())}, with cards, digests and lineage"


def evaluation(metrics: dict[str, float], dataset: dict[str, str]) -> dict[str, Any]:
    """What training measured on the validation rows, as a document in the portal's published schema; shares with their counts."""
    found = {name.removeprefix("validation_"): value for name, value in metrics.items()}
    rows, hits = int(found["rows"]), int(found["true_positives"])
    called, needed = hits + int(found["false_positives"]), hits + int(found["false_negatives"])
    cost = {"value": found["cost_per_1k_usd"], "low": found["cost_per_1k_usd_low95"], "high": found["cost_per_1k_usd_high95"]}
    return {
        "kind": "evaluation",
        "name": "validation",
        "task": "binary-classification",
        "note": "Rows the version did not learn from; its cut-off was set on them. Control rows check that in the pilot.",
        "dataset": dataset,
        "metrics": [
            {"name": "cost_per_1k_usd", **cost, "n": rows, "better": "lower"},
            {"name": "recall", "successes": hits, "n": needed, "better": "higher"},
            {"name": "precision", "successes": hits, "n": called, "better": "higher"},
            {"name": "roc_auc", "value": found["roc_auc"], "n": rows, "better": "higher"},
            {"name": "contacted_share", "successes": called, "n": rows},
        ],
    }


def _evaluate(ctx: Context, path: str, version: dict[str, Any], metrics: dict[str, float]) -> None:
    """Attach the evaluation as an engineer's pipeline would, and read its intervals back."""
    data = next(i for i in version["inputs"] if i["context"] == "validation")
    document = evaluation(metrics, {"name": data["name"], "digest": data["digest"]})
    attached = ctx.engineer.post(path + "evaluations/", document)
    figures = {f["name"]: f for f in ctx.auditor.get(f"evaluations/{attached['id']}/")["figures"]["metrics"]}
    check(
        all(figures[name]["low"] < figures[name]["value"] < figures[name]["high"] for name in ("cost_per_1k_usd", "recall", "precision")),
        f"the evaluation has intervals: {figures}",
    )


def _ready(ctx: Context, path: str) -> dict[str, Any] | None:
    answer = ctx.engineer.call("GET", path, expect=(200, 404))
    return answer if answer.get("status") == "ready" else None


def freeze_baselines(ctx: Context) -> str:
    """Step 3: what is achieved without a model, frozen. The data hold no dates: twelve equal parts stand for the twelve weeks before today."""
    rows = traffic.load_rows(ctx.rows / "validation.json")
    today = datetime.now(tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = today - timedelta(weeks=BASELINE_WEEKS)
    size = -(-len(rows) // BASELINE_WEEKS)
    said = []
    for kpi in (k for k in story.KPIS if k.has_baseline):
        kpi_id = ctx["kpis"][kpi.key]
        period = {"period_start": begin.isoformat(), "period_end": today.isoformat()}
        batch = []
        for week in range(BASELINE_WEEKS):
            part = rows[week * size : (week + 1) * size]
            seen = observations(kpi.key, part, [0] * len(part))
            start = begin + timedelta(weeks=week)
            batch.append(
                {
                    "period_start": start.isoformat(),
                    "period_end": (start + timedelta(weeks=1)).isoformat(),
                    "value": fmean(seen),
                    "n": len(seen),
                    "variance": variance(seen),
                    "source": WEEKS,
                    "external_id": f"baseline-{week}",
                }
            )
        report = ctx.engineer.post(f"kpis/{kpi_id}/measurements/", {"rows": batch})
        check(report["accepted"] == BASELINE_WEEKS and not report["refused"], "every week of the baseline was taken")
        frozen = ctx.engineer.post(
            f"kpis/{kpi_id}/baselines/",
            {**period, "note": f"{story.BEFORE} Validation rows in twelve equal parts, each standing for a week: the data hold no dates."},
        )
        said.append(f"{kpi.name} {frozen['value']:.0%}" if kpi.unit == "share" else f"{kpi.name} {frozen['value']:,.0f} {kpi.unit}")
    worth = {
        "value_per_unit": "1",
        "currency": "USD",
        "per_n": 1000,
        "note": "A dollar of cost avoided is a dollar; the KPI counts per 1,000 decisions.",
    }
    ctx.people["owner"].post(f"kpis/{ctx['kpis']['cost_per_1k_usd']}/value-conversion/", worth)
    frozen_rows = list(ctx.auditor.pages(f"kpis/{ctx['kpis']['cost_per_1k_usd']}/baselines/"))
    check(
        len(frozen_rows) == 1 and frozen_rows[0]["digest"].startswith("sha256:") and frozen_rows[0]["n"] == len(rows),
        "one frozen baseline over every row",
    )
    return "frozen without a model: " + ", ".join(said)
