"""Steps 5 to 7: deploy to the pilot, load, go to production, canary."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from demo import measurement_plan, story, traffic
from demo.portal import JourneyError, check, wait_for
from demo.steps.context import Context
from demo.steps.gates import pass_gate

T = story.THRESHOLDS
READY_S = 90.0
# Rows are in the capture store this long after their answer; monitors look no nearer.
SETTLE_S = 3.0
# Requests under way are answered within this before the canary's step ends.
CANARY_MARGIN_S = 1.5
# The pilot's half of the undrifted window; the other half is for the canary.
PILOT_ROWS = 1_200
# What mlflow says of an alias that is not set.
NO_ALIAS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def make_endpoint(ctx: Context, environment: str, *, called: str = "", rate_limit_rps: float = 400, burst: int = 800) -> dict[str, Any]:
    """An endpoint of the use case with one caller's key."""
    called = called or environment
    made = ctx.engineer.post(
        "endpoints/",
        {
            "usecase": ctx["usecase"],
            "name": f"{ctx['usecase_name']}, {called}",
            "environment": environment,
            "slug": f"{ctx['usecase']}-{called}",
            "rate_limit_rps": rate_limit_rps,
            "burst": burst,
        },
        key=f"{ctx.run}-endpoint-{called}",
    )
    issued = ctx.engineer.post(f"endpoints/{made['slug']}/keys/", {"name": "outreach desk"})
    return {
        "id": made["id"],
        "slug": made["slug"],
        "key": issued["key"],
        "url": f"{ctx.stack['gateway_url']}/v2/models/{made['slug']}/infer",
    }


def deploy(ctx: Context, endpoint: dict[str, Any], version: dict[str, Any], **how: Any) -> dict[str, Any]:
    """Ask for a version on an endpoint; returns the rollout."""
    body = {"endpoint": endpoint["slug"], "model_version": version["id"], **how}
    made: dict[str, Any] = ctx.engineer.post("deployments/", body, key=f"{ctx.run}-deploy-{endpoint['slug']}-{version['number']}")
    return made


def rollout_done(ctx: Context, rollout: dict[str, Any], state: str = "completed", limit_s: float = READY_S) -> dict[str, Any]:
    """The rollout once it has reached the state; raises when it ended otherwise."""

    def look() -> dict[str, Any] | None:
        now: dict[str, Any] = ctx.engineer.get(f"rollouts/{rollout['id']}/")
        check(now["state"] in ("in_progress", state), f"the rollout to be {state}, not {now['state']}: {now['reason']}")
        return now if now["state"] == state else None

    return wait_for(f"the rollout to be {state}", look, limit_s=limit_s)


def ask(endpoint: dict[str, Any], row: traffic.Row, *, key: str | None = None, path: str = "") -> httpx.Response:
    """One request to the endpoint as a caller would send it."""
    url = endpoint["url"] if not path else endpoint["url"].replace("/infer", path)
    headers = {"Authorization": f"Bearer {key if key is not None else endpoint['key']}"}
    return httpx.post(url, json=traffic.infer_body([row], request_id=f"probe-{row.row_id}"), headers=headers, timeout=10, trust_env=False)


def answers_with(endpoint: dict[str, Any], row: traffic.Row, label: str) -> bool:
    """Whether the endpoint answers with this version now."""
    answer = ask(endpoint, row)
    return answer.status_code == 200 and answer.headers.get("X-Gatehouse-Model-Version") == label


def to_pilot(ctx: Context) -> str:
    """Step 5: the decision becomes a running engine behind an authenticated, limited, versioned address."""
    hosts = list(ctx.engineer.pages("hosts/"))
    check(hosts and hosts[0]["cpu_count"] and hosts[0]["memory_bytes"], "a host announced its CPU and memory")
    endpoint = ctx["pilot"] = make_endpoint(ctx, "pilot")
    v1, row = ctx["versions"][1], traffic.load_rows(ctx.rows / "control.json")[0]
    rollout = deploy(ctx, endpoint, v1)
    rollout_done(ctx, rollout)
    wait_for("the pilot endpoint to answer with version 1", lambda: answers_with(endpoint, row, v1["label"]), limit_s=20)
    check(ask(endpoint, row, key="ghe_00000000_wrong").status_code == 401, "a wrong key is refused")
    check(ask(endpoint, row, path=f"/versions/{v1['number']}/infer").status_code == 200, "the versioned address answers")
    check(ask(endpoint, row, path="/versions/999/infer").status_code == 404, "a version that does not serve is not there")
    deployment = next(d for d in ctx.engineer.pages("deployments/", endpoint=endpoint["slug"]) if d["role"] == "live")
    check(deployment["observed"] == "ready" and deployment["artifact_digest"] == v1["digest"], "the reconciler saw the signed digest ready")
    check(deployment["engine_starts"] == 1, "the engine was started once")
    ctx["pilot_deployment"] = deployment["id"]
    return f"{v1['label']} answers at {endpoint['url']}"


def meet_the_limit(ctx: Context, row: traffic.Row) -> str:
    """Ask more of an endpoint than its limit allows: the gateway says 429, and when to come again. Its own endpoint, so that no figure is disturbed."""
    endpoint = make_endpoint(ctx, "pilot", called="limit-trial", rate_limit_rps=0.2, burst=2)
    wait_for("the gateway to know the endpoint", lambda: ask(endpoint, row).status_code not in (401, 404), limit_s=20)

    def refused() -> httpx.Response | None:
        answer = ask(endpoint, row)
        return answer if answer.status_code == 429 else None

    answer = wait_for("a request beyond the limit to be refused", refused, limit_s=20)
    check(answer.headers["Content-Type"].startswith("application/problem+json"), "the refusal is a problem document")
    check(
        1 <= int(answer.headers["Retry-After"]) <= 5,
        f"the next request of 0.2 a second is due within 5 s, not {answer.headers['Retry-After']}",
    )
    return f"beyond the limit the gateway answers 429, Retry-After {answer.headers['Retry-After']} s"


def load_test(ctx: Context) -> str:
    """Step 6: open-loop load at 1x and 10x the projected rate, by the agent; recorded with cost."""
    cards = list(ctx.engineer.pages("rate-cards/"))
    if not cards:
        ctx.people["admin"].post(
            "rate-cards/",
            {
                "name": "default",
                "cpu_hour": str(story.RATE_CARD["cpu_core_hour_usd"]),
                "gpu_hour": str(story.RATE_CARD["gpu_hour_usd"]),
                "memory_gib_hour": str(story.RATE_CARD["memory_gib_hour_usd"]),
                "per_1k_requests": "0",
                "currency": "USD",
            },
        )
    said = []
    for multiplier in (1, 10):
        for attempt in range(1, T.load_test_tries + 1):
            run = ctx.engineer.post(
                "load-tests/",
                {
                    "deployment": ctx["pilot_deployment"],
                    "multiplier": multiplier,
                    "duration_s": T.load_test_seconds,
                    "seed": T.load_test_seed,
                    "max_error_share": T.load_test_error_share,
                },
                key=f"{ctx.run}-load-{multiplier}-{attempt}",
            )
            done = wait_for(f"the load test at {multiplier}x", lambda run=run: _finished(ctx, run), limit_s=60)  # type: ignore[misc]
            if done["passed"]:
                break
            # On a busy machine a run can fail for other people's reasons. It stays on record; the next one decides.
            print(f"        {multiplier}x, try {attempt}: {done['detail']}", flush=True)
        check(done["state"] == "done" and done["passed"], f"the load test at {multiplier}x passes: {done['detail']}")
        check(done["errors"] == 0 and done["cost_per_1k"] is not None, "no error, and a cost per 1,000")
        said.append(f"{multiplier}x: p50 {done['p50_ms']:.1f} ms, p99 {done['p99_ms']:.1f} ms")
    return "; ".join(said) + f"; {done['cost_per_1k']:.5f} {done['currency']} per 1,000 requests"


def _finished(ctx: Context, run: dict[str, Any]) -> dict[str, Any] | None:
    now: dict[str, Any] = ctx.engineer.get(f"load-tests/{run['id']}/")
    return now if now["state"] in ("done", "failed") else None


def send(
    ctx: Context, endpoint: dict[str, Any], rows: Sequence[traffic.Row], *, rate_rps: float, batch_rows: int = 1
) -> list[traffic.Answer]:
    """Send rows and post their labels as the claims feed would."""
    answers = list(traffic.send(rows, infer_url=endpoint["url"], api_key=endpoint["key"], rate_rps=rate_rps, batch_rows=batch_rows))
    bad = [a for a in answers if a.status != 200]
    check(not bad, f"every request is answered; {len(bad)} were not: {bad[0].status if bad else ''} {bad[0].detail[:300] if bad else ''}")
    traffic.post_labels(
        traffic.labels_of(answers), base_url=ctx.stack["base_url"], endpoint_slug=endpoint["slug"], token=ctx.engineer.token
    )
    return answers


def captured(ctx: Context, endpoint: dict[str, Any], rows: int) -> dict[str, Any]:
    """The endpoint's captures once at least so many rows are there."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = ctx.engineer.get(f"endpoints/{endpoint['slug']}/captures/")
        return found if sum(v["rows"] for v in found["versions"] if not v["shadow"]) >= rows else None

    return wait_for(f"{rows} captured rows", look, limit_s=30)


def to_production(ctx: Context) -> str:
    """Step 7: evidence from the pilot, two gates, version 1 at once, version 2 as a canary, the alias after the decision."""
    pilot, v1, v2 = ctx["pilot"], ctx["versions"][1], ctx["versions"][2]
    control = traffic.load_rows(ctx.rows / "control.json")
    make_monitors(ctx, pilot)
    began = moment()
    send(ctx, pilot, control[:PILOT_ROWS], rate_rps=60, batch_rows=20)
    captured(ctx, pilot, PILOT_ROWS)
    windows = judge(ctx, pilot, since=began)
    check([w["state"] for w in windows["drift"]] == ["quiet"], f"the undrifted pilot stays silent: {windows['drift']}")
    effect = wait_for("an effect with enough data", lambda: _effect(ctx), limit_s=30)
    check(effect["improvement_low"] is not None, "the effect has an interval")
    ctx.engineer.post(f"endpoints/{pilot['slug']}/rehearse-rollback/", key=f"{ctx.run}-rehearse")
    rehearsal = wait_for("the rollback rehearsal", lambda: _rehearsed(ctx, pilot), limit_s=60)
    pass_gate(ctx, "production", version=v1)
    endpoint = ctx["production"] = make_endpoint(ctx, "production")
    rollout_done(ctx, deploy(ctx, endpoint, v1))
    wait_for("production to answer with version 1", lambda: answers_with(endpoint, control[0], v1["label"]), limit_s=20)
    wait_for("@production on version 1", lambda: alias(ctx) == v1["number"], limit_s=20)
    make_monitors(ctx, endpoint)
    pass_gate(ctx, "production", version=v2)
    share = canary(ctx, endpoint, control[PILOT_ROWS:], v2)
    limit = meet_the_limit(ctx, control[0])
    return (
        f"KPI effect {effect['improvement'] * 100:+.1f}% (95% {effect['improvement_low'] * 100:+.1f} to {effect['improvement_high'] * 100:+.1f}), "
        f"rollback rehearsed in {rehearsal['seconds']:.1f} s; version 1 live, version 2 after a canary that took {share * 100:.1f}% of requests; {limit}"
    )


def _effect(ctx: Context) -> dict[str, Any] | None:
    effect: dict[str, Any] = ctx.auditor.get(f"kpis/{ctx['kpis']['cost_per_1k_usd']}/effect/")
    return effect if effect["enough"] else None


def _rehearsed(ctx: Context, endpoint: dict[str, Any]) -> dict[str, Any] | None:
    rows = ctx.engineer.get(f"endpoints/{endpoint['slug']}/")["rehearsals"]
    check(not rows or rows[0]["ok"] is not False, f"the rehearsal goes well: {rows[0]['detail'] if rows else ''}")
    return rows[0] if rows and rows[0]["ok"] else None


def alias(ctx: Context) -> int | None:
    """Which version `@production` names, asked by mlflow's own client."""
    url = ctx.stack["mlflow_url"]
    with _environment(MLFLOW_TRACKING_TOKEN=ctx.engineer.token):  # the only way in which the client takes a token
        try:
            found = MlflowClient(tracking_uri=url, registry_uri=url).get_model_version_by_alias(ctx.model_name, "production")
        except MlflowException as error:
            if error.error_code in NO_ALIAS:
                return None
            raise JourneyError(f"{ctx.engineer.who}: @production of {ctx.model_name}: {error}") from error
    return int(found.version)


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def make_monitors(ctx: Context, endpoint: dict[str, Any]) -> None:
    """A drift monitor against the reference window, and a cost monitor over joined labels, with the story's bounds."""
    rows = [r.features for r in traffic.load_rows(ctx.rows / "reference.json")]
    config = measurement_plan.monitors()
    drift = {
        "kind": "drift",
        "name": "Inputs like the reference",
        "config": {**config["drift"], "settle_s": SETTLE_S},
        "reference": {"rows": rows, "source": "randhie, reference window"},
    }
    fed = {"cost_per_1k": "cost-per-1k-usd", "recall": "recall", "positive_share": "contacted-share"}
    cost = {"kind": "cost", "name": "Cost of decisions", "config": {**config["cost"], "settle_s": SETTLE_S, "kpis": fed}}
    latency = {
        "kind": "latency",
        "name": "Answer time",
        "config": {**config["latency"], "min_rows": 50, "settle_s": SETTLE_S, "kpis": {"latency_p99_ms": "latency-p99-ms"}},
    }
    for monitor in (drift, cost, latency):
        ctx.engineer.post("monitors/", {"endpoint": endpoint["slug"], **monitor})


def judge(ctx: Context, endpoint: dict[str, Any], *, since: str) -> dict[str, list[dict[str, Any]]]:
    """Have the endpoint's monitors judge what came since a moment; all windows that ended after it, by kind, newest first.

    The portal's own schedule may have judged a part of it before: that counts as well.
    """
    time.sleep(SETTLE_S)
    found: dict[str, list[dict[str, Any]]] = {}
    for monitor in ctx.engineer.pages("monitors/", endpoint=endpoint["slug"]):
        ctx.engineer.post(f"monitors/{monitor['id']}/evaluate/")
        windows = ctx.engineer.pages(f"monitors/{monitor['id']}/windows/")
        found[monitor["kind"]] = [w for w in windows if w["ended_at"] > since]
    return found


def moment() -> str:
    """Now, as the API writes moments."""
    return datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def canary(ctx: Context, endpoint: dict[str, Any], rows: Sequence[traffic.Row], version: dict[str, Any]) -> float:
    """Version 2 with a tenth of the requests, counted from captures; then all. Returns the share seen."""
    before, began = captured(ctx, endpoint, 0), moment()
    rollout = deploy(ctx, endpoint, version, strategy="canary", steps=[round(T.canary_share * 100), 100], bake_s=T.bake_seconds)
    wait_for("the canary to take requests", lambda: ctx.engineer.get(f"rollouts/{rollout['id']}/")["step"] == 0, limit_s=READY_S)
    wait_for("the gateway to route to the canary", lambda: _canary_routed(ctx, rollout), limit_s=15)
    # Not a moment longer than the canary's step, however slow the machine is: what comes after it would count as version 2's own.
    started = datetime.fromisoformat(ctx.engineer.get(f"rollouts/{rollout['id']}/")["step_started_at"])
    ends = started + timedelta(seconds=T.bake_seconds - CANARY_MARGIN_S)
    during = itertools.takewhile(lambda _: datetime.now(tz=UTC) < ends, rows)
    answers = list(traffic.send(during, infer_url=endpoint["url"], api_key=endpoint["key"], rate_rps=250))
    check(all(a.status == 200 for a in answers), "every request is answered during the canary")
    captured(ctx, endpoint, sum(v["rows"] for v in before["versions"] if not v["shadow"]) + len(answers))
    n, seen = _during_step(ctx, endpoint, rollout, version)
    low, high = binomial_interval(n, T.canary_share, T.canary_share_confidence)
    check(n >= T.canary_min_requests, f"at least {T.canary_min_requests} requests during the canary step, not {n}")
    check(low <= seen <= high, f"between {low} and {high} of {n} captured requests on the canary, not {seen}")
    traffic.post_labels(
        traffic.labels_of(answers), base_url=ctx.stack["base_url"], endpoint_slug=endpoint["slug"], token=ctx.engineer.token
    )
    rollout_done(ctx, rollout)
    wait_for("production to answer with version 2", lambda: answers_with(endpoint, rows[0], version["label"]), limit_s=20)
    wait_for("@production on version 2", lambda: alias(ctx) == version["number"], limit_s=20)
    windows = judge(ctx, endpoint, since=began)
    check({w["state"] for w in windows["drift"]} == {"quiet"}, f"the undrifted window stays silent: {windows['drift']}")
    check(
        not [i for i in ctx.engineer.pages("incidents/", usecase=ctx["usecase"]) if not i["closed_at"]], "no incident on undrifted traffic"
    )
    return seen / n


def _canary_routed(ctx: Context, rollout: dict[str, Any]) -> bool:
    shifts = ctx.engineer.get(f"rollouts/{rollout['id']}/")["shifts"]
    return any(s["kind"] == "step" and s["step"] == 0 and s["confirmed_at"] for s in shifts)


def _during_step(ctx: Context, endpoint: dict[str, Any], rollout: dict[str, Any], version: dict[str, Any]) -> tuple[int, int]:
    """(requests captured, those on the new version) while the gateway routed by the canary step, and only then."""
    shifts = {s["step"]: s for s in ctx.engineer.get(f"rollouts/{rollout['id']}/")["shifts"] if s["kind"] == "step"}
    window = {"since": shifts[0]["confirmed_at"]}
    if 1 in shifts:
        window["until"] = shifts[1]["requested_at"]
    found = ctx.engineer.get(f"endpoints/{endpoint['slug']}/captures/", **window)
    rows = {v["model_version"]: v["rows"] for v in found["versions"] if not v["shadow"]}
    return sum(rows.values()), rows.get(version["label"], 0)


def binomial_interval(n: int, p: float, confidence: float) -> tuple[int, int]:
    """Central interval of Binomial(n, p) holding at least `confidence`, by summing the exact terms."""
    tail, term, total, low = (1 - confidence) / 2, (1 - p) ** n, 0.0, -1
    terms = []
    for k in range(n + 1):
        terms.append(term)
        term = term * (n - k) / (k + 1) * p / (1 - p)
    for k, value in enumerate(terms):
        total += value
        if low < 0 and total > tail:
            low = k
        if total >= 1 - tail:
            return low, k
    return max(low, 0), n
