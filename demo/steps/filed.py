"""The measurement plan: filed at the first gate, and proved at the end from the exported trail alone."""

from __future__ import annotations

import base64
import json
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.data.digest_utils import compute_pandas_digest

from demo import measurement_plan, story, traffic
from demo.portal import check
from demo.steps.context import REPO, Context
from demo.steps.gates import answerer

# Beside the answer that the data may be used and somebody answers for them; any other item would do.
ITEM = "data_ready"
WHOLE = 0  # the verifier's exit code for a whole, witnessed trail


def file_plan(ctx: Context, gate: dict[str, Any]) -> None:
    """Put the plan beside an answer of the draft gate, as its answerer would on the page; read it back."""
    items = ctx.engineer.get(f"gates/{gate['id']}/")["attestations"]
    item = next((i for i in items if i["item"] == ITEM), items[0])
    content = measurement_plan.canonical(measurement_plan.plan(measurement_plan.windows(ctx.rows), run_inputs(ctx)))
    body = {"item": item["item"], "name": measurement_plan.FILE, "content": base64.b64encode(content).decode()}
    filed = answerer(ctx, item["owner"]).post(f"gates/{gate['id']}/attachments/", body)
    check(filed["digest"] == measurement_plan.digest(content), "the plan is filed under the digest of its own bytes")
    ctx["plan"] = {"gate": gate["id"], "attachment": filed["id"], "digest": filed["digest"]}


def run_inputs(ctx: Context) -> dict[str, str]:
    """The digests by which mlflow knows the rows that runs learn from and are measured on, worked out here from the dumped windows."""
    return {name: _mlflow_digest(traffic.load_rows(ctx.rows / f"{name}.json")) for name in ("train", "validation")}


def _mlflow_digest(rows: Sequence[traffic.Row]) -> str:
    frame = pd.DataFrame([r.features for r in rows], columns=list(story.FEATURES), dtype="float64")
    return str(compute_pandas_digest(frame.assign(high_use=[r.label for r in rows])))


def really_used(ctx: Context) -> bytes:
    """The rules that were used, as the portal, the rows and the runs hold them now, in the form of the plan."""
    auditor = ctx.auditor
    kpis = {key: auditor.get(f"kpis/{kpi_id}/") for key, kpi_id in ctx["kpis"].items()}
    versions = [auditor.get(f"models/{ctx.model_name}/versions/{v['number']}/") for v in ctx["versions"].values()]
    endpoints = (ctx["pilot"]["slug"], ctx["production"]["slug"])
    rollouts = [r for r in auditor.pages("rollouts/", endpoint=ctx["production"]["slug"]) if r["strategy"] == "canary"]
    check(len(rollouts) == 1, "one canary in production")
    document = measurement_plan.used(
        rows=measurement_plan.windows(ctx.rows),
        versions=versions,
        kpis=kpis,
        baselines={key: k["in_force"]["value"] for key, k in kpis.items() if k["in_force"]},
        requirements=auditor.get(f"usecases/{ctx['usecase']}/")["requirements"],
        configs=[m for slug in endpoints for m in auditor.pages("monitors/", endpoint=slug)],
        canary=rollouts[0],
        load_tests=list(auditor.pages("load-tests/", usecase=ctx["usecase"])),
    )
    return measurement_plan.canonical(document)


def prove_plan_came_first(ctx: Context) -> str:
    """Export the whole trail, verify it offline, and read from it alone that the plan was there before any run and any figure."""
    filed = ctx.auditor.get(f"gates/{ctx['plan']['gate']}/attachments/{ctx['plan']['attachment']}/")
    content = measurement_plan.canonical(filed) if isinstance(filed, dict) else filed
    used = really_used(ctx)
    check(content == used, f"the rules used are those filed: {_differences(json.loads(content), json.loads(used))}")
    path = ctx.data / "run" / f"{ctx['usecase']}-trail.zip"
    path.write_bytes(ctx.auditor.post("audit/exports/", {}))
    command = [*ctx.stack["audit"]["verify_command"], "--bundle", str(path), "--checkpoint", ctx.stack["audit"]["witnessed_checkpoint"]]
    seen = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=300, check=False)
    check(seen.returncode == WHOLE, f"the exported trail verifies as a whole: {seen.returncode} {seen.stdout[-800:]} {seen.stderr[-500:]}")
    places = order_in_trail(path, usecase_id=ctx["usecase_id"], model_name=ctx.model_name, digest=measurement_plan.digest(used))
    path.unlink()
    check(places["plan"] is not None, f"the trail holds a plan of this digest: {measurement_plan.digest(used)}")
    lacking = [name for name, place in places.items() if place is None]
    check(not lacking, f"the trail holds the first of each of them: {lacking}")
    later = {name: place for name, place in places.items() if name != "plan"}
    check(places["plan"] < min(later.values()), f"the plan comes before the first run, version, figure and label: {places}")
    return f"the measurement plan is event {places['plan']:,} of the trail, the first run {places['run']:,}, the first figure {places['figure']:,}"


def order_in_trail(bundle: Path, *, usecase_id: str, model_name: str, digest: str) -> dict[str, Any]:
    """Place in the exported trail (0 is the oldest) of the plan and of the first event of each kind that must come after it.

    plan: a file of this digest beside a gate of the use case. run: the experiment or anything else written to MLflow under the
    model's name. version: its first version. figure, label: the first measurements and labels of the use case.
    """
    found: dict[str, Any] = dict.fromkeys(("plan", "run", "version", "figure", "label"))
    with zipfile.ZipFile(bundle) as archive, archive.open("events.jsonl") as lines:
        for place, line in enumerate(lines):
            event = json.loads(line)
            kind = _kind(event, usecase_id, model_name, digest)
            if kind and found[kind] is None:
                found[kind] = place
    return found


def _kind(event: dict[str, Any], usecase_id: str, model_name: str, digest: str) -> str:
    action, label = event["action"], event["object"]["label"]
    if action.startswith("registry."):
        if label.startswith(f"{model_name}/"):
            return "version"
        return "run" if label == model_name else ""
    if event["usecase_id"] != usecase_id:
        return ""
    if action == "approvals.attachment.added" and event["after"]["digest"] == digest:
        return "plan"
    return {"kpis.measurements.recorded": "figure", "monitoring.labels.recorded": "label"}.get(action, "")


def _differences(filed: dict[str, Any], used: dict[str, Any]) -> list[str]:
    """Which parts differ, in few words."""
    names = sorted({*filed, *used})
    apart = [n for n in names if filed.get(n) != used.get(n)]
    return [f"{n}: {str(filed.get(n))[:300]} -> {str(used.get(n))[:300]}" for n in apart]
