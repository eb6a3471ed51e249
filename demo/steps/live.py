"""Steps 8 and 9: drifted traffic, the incident, the rollback; the auditor's export, verified offline."""

from __future__ import annotations

import subprocess
import sys
from math import fsum, isclose
from typing import Any

from demo import story, traffic
from demo.portal import check, wait_for
from demo.steps.context import REPO, Context
from demo.steps.filed import prove_plan_came_first
from demo.steps.serve import alias, answers_with, captured, judge, moment, send

T = story.THRESHOLDS
SINGLE_EVENTS = 6  # the verifier's exit code for: each event in the bundle is in the witnessed trail


def drift_and_roll_back(ctx: Context) -> str:
    """Step 8: newly enrolled members arrive; drift opens an incident; labels show version 2 dearer; version 1 takes over."""
    endpoint, v1 = ctx["production"], ctx["versions"][1]
    live = traffic.load_rows(ctx.rows / "live.json")
    before = sum(v["rows"] for v in captured(ctx, endpoint, 0)["versions"] if not v["shadow"])
    began = moment()
    send(ctx, endpoint, live, rate_rps=60, batch_rows=20)
    captured(ctx, endpoint, before + len(live))
    windows = judge(ctx, endpoint, since=began)
    check("drift" in {w["state"] for w in windows["drift"]}, f"the later rows drift: {windows['drift']}")
    check("worse" in {w["state"] for w in windows["cost"]}, f"version 2 is dearer than version 1 by more than the bound: {windows['cost']}")
    opened = [i for i in ctx.engineer.pages("incidents/", usecase=ctx["usecase"]) if not i["closed_at"]]
    monitors = {m["id"]: m["kind"] for m in ctx.engineer.pages("monitors/", endpoint=endpoint["slug"])}
    check({monitors.get(i["monitor_id"]) for i in opened} >= {"drift", "cost"}, f"an incident for each: {[i['title'] for i in opened]}")
    wait_for("production to answer with version 1 again", lambda: answers_with(endpoint, live[0], v1["label"]), limit_s=30)
    wait_for("@production back on version 1", lambda: alias(ctx) == v1["number"], limit_s=20)
    decisions = [
        d for d in ctx.auditor.pages("decisions/", usecase=ctx["usecase"]) if d["model_version_label"] == ctx["versions"][2]["label"]
    ]
    check(decisions and not decisions[0]["live"], "the decision for version 2 is on hold")
    first = [
        d
        for d in ctx.auditor.pages("decisions/", usecase=ctx["usecase"])
        if d["model_version_label"] == v1["label"] and d["environment"] == "production"
    ]
    check(first and first[0]["live"], "the decision for version 1 still holds")
    check_series(ctx)
    value = ctx.auditor.get(f"usecases/{ctx['usecase']}/value/")
    check(value["value"] is not None and value["cost"] is not None, f"value with its interval stands against metered cost: {value}")
    rollouts = list(ctx.engineer.pages("rollouts/", endpoint=endpoint["slug"]))
    taken_back = next(r for r in rollouts if r["state"] == "rolled_back")
    shift = next(x for x in taken_back["shifts"] if x["kind"] == "roll_back")
    worth = f"{value['value']:,.0f} {value['currency']} so far ({value['low']:,.0f} to {value['high']:,.0f}), run cost {value['cost']:.4f}"
    return f"{worth}; drift found, incident opened, version 1 live again {shift['seconds']:.1f} s after the decision to roll back"


def check_series(ctx: Context) -> None:
    """The cost KPI as its chart draws it: baseline, target and floor as frozen, the rows of each version, and the effect that follows from them."""
    kpi_id = ctx["kpis"]["cost_per_1k_usd"]
    planned = next(k for k in story.KPIS if k.key == "cost_per_1k_usd")
    kpi = ctx.auditor.get(f"kpis/{kpi_id}/")
    rows = ctx.auditor.get(f"kpis/{kpi_id}/series/")["results"]
    baseline = kpi["in_force"]
    before = [r for r in rows if not r["version_label"]]
    check(
        sum(r["n"] for r in before) == baseline["n"] and isclose(_mean(before), baseline["value"], rel_tol=1e-9),
        f"the series begins with the rows of the frozen baseline: {_mean(before)} and {baseline['value']}",
    )
    levels = (planned.target(baseline["value"]), planned.floor(baseline["value"]))
    check(
        (kpi["target"], kpi["floor"]) == levels, f"target and floor as planned from the baseline: {kpi['target']}, {kpi['floor']}, {levels}"
    )
    for version in ctx["versions"].values():
        since = [r for r in rows if r["version_label"] == version["label"]]
        effect = ctx.auditor.get(f"kpis/{kpi_id}/effect/", version=version["label"])
        check(since and effect["n_current"] == sum(r["n"] for r in since), f"the effect of {version['label']} counts its rows: {effect}")
        better = (baseline["value"] - _mean(since)) / baseline["value"]
        check(
            isclose(effect["baseline"], baseline["value"], rel_tol=1e-9) and isclose(effect["improvement"], better, abs_tol=1e-6),
            f"the effect of {version['label']} is that of the series, {better}: {effect}",
        )
        check(
            effect["improvement_low"] < better < effect["improvement_high"], f"the effect of {version['label']} has its interval: {effect}"
        )


def _mean(rows: list[dict[str, Any]]) -> float:
    return fsum(r["value"] * r["n"] for r in rows) / sum(r["n"] for r in rows)


def export_and_verify(ctx: Context) -> str:
    """Step 9: the trail of the use case as a bundle, and the whole trail, both verified by the separate program."""
    bundle = ctx.auditor.post("audit/exports/", {"usecase_id": ctx["usecase_id"]})
    path = ctx.data / "run" / f"{ctx['usecase']}.zip"
    path.write_bytes(bundle)
    checkpoint = ctx.stack["audit"]["witnessed_checkpoint"]
    command = [*ctx.stack["audit"]["verify_command"], "--bundle", str(path), "--checkpoint", checkpoint]
    seen = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=120, check=False)
    # The verifier never says "verified" for more than it saw: single events of a larger trail have an exit code of their own.
    check(
        seen.returncode == SINGLE_EVENTS,
        f"every event of the bundle is proved: {seen.returncode} {seen.stdout[-800:]} {seen.stderr[-500:]}",
    )
    actions = {e["action"] for e in ctx.auditor.pages("audit/events/", usecase=ctx["usecase_id"])}
    wanted = {"usecases.usecase.created", "approvals.gate.signed", "deployments.deployment.requested"}
    check(wanted <= actions, f"the trail tells the story; missing {wanted - actions}")
    said = f"{len(actions)} kinds of events"
    url = ctx.stack.get("database_superuser_url")
    if url:
        whole = [*ctx.stack["audit"]["verify_command"], "--database-url", url, "--checkpoint", checkpoint]
        done = subprocess.run(whole, cwd=REPO, capture_output=True, text=True, timeout=300, check=False)
        check(done.returncode == 0, f"the whole trail verifies: {done.returncode} {done.stdout[-1200:]} {done.stderr[-500:]}")
        said += "; the whole trail verifies"
    said += f"; {prove_plan_came_first(ctx)}"
    return f"exported and verified offline: {said}"


def connections(ctx: Context) -> dict[str, Any]:
    """demo.json: what a script needs to go on from here."""
    example = traffic.infer_body(traffic.load_rows(ctx.rows / "control.json")[:1], request_id="example")
    endpoint = ctx["production"]
    return {
        "ready": True,
        **{
            k: ctx.stack[k]
            for k in ("base_url", "gateway_url", "mlflow_url", "database_app_url", "database_superuser_url", "broker_url", "audit")
        },
        "accounts": [
            {k: a[k] for k in ("role", "function", "email", "password", "token", "name") if a.get(k) is not None} for a in ctx.accounts
        ],
        "endpoint": {"infer_url": endpoint["url"], "api_key": endpoint["key"], "example_request": example, "slug": endpoint["slug"]},
        "usecase": ctx["usecase"],
        "python": sys.executable,
    }
