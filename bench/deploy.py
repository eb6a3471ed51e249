"""What signed orders, digest checks, the reconciler and routing add to starting an engine, from a portal's own records.

    .venv/bin/python bench/deploy.py [--data .gatehouse]      needs a running `./gatehouse demo` with a finished journey

For every rollout of the sample story: from the request until all gateways routed to the new version, and within it the engine's
own start (process, imports, model), which is what starting it by hand would take: the limit. The rest is ours: outbox, order,
download, digest, report, snapshot.
"""

import argparse
import json
import statistics
from datetime import datetime
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]


def seconds(begin: str, end: str) -> float:
    """Between two RFC 3339 moments."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def main() -> None:
    """Read the records over REST and print a row a rollout, then medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / ".gatehouse")
    options = parser.parse_args()
    known = json.loads((options.data / "demo.json").read_text())
    token = next(a["token"] for a in known["accounts"] if a["role"] == "auditor")
    client = httpx.Client(
        base_url=f"{known['base_url']}/api/v1/", headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30
    )
    rows = []
    for rollout in client.get("rollouts/", params={"page_size": 200}).raise_for_status().json()["results"]:
        steps = [s for s in rollout["shifts"] if s["kind"] == "step" and s["confirmed_at"]]
        timings = rollout["deployment"]["timings_ms"]
        # A later start, after a restart of the host, has timings of its own that do not belong to this rollout.
        if not steps or "start" not in timings or rollout["deployment"]["engine_starts"] != 1:
            continue
        total = seconds(rollout["created_at"], min(s["confirmed_at"] for s in steps))
        rows.append(
            (
                rollout["to_version"],
                rollout["endpoint"],
                total,
                timings["start"] / 1000,
                sum(timings.values()) / 1000 - timings["start"] / 1000,
            )
        )
    if not rows:
        raise SystemExit("No finished rollout there. Let ./gatehouse demo finish its journey first.")
    print(f"{'version':24} {'endpoint':32} {'total s':>8} {'engine s':>9} {'files s':>8} {'ours s':>7}")
    for version, endpoint, total, start, files in rows:
        print(f"{version:24} {endpoint:32} {total:8.2f} {start:9.2f} {files:8.2f} {total - start:7.2f}")
    total, start = statistics.median(r[2] for r in rows), statistics.median(r[3] for r in rows)
    print(
        f"\nmedian of {len(rows)}: from request to traffic {total:.2f} s, engine's own start {start:.2f} s, added {total - start:.2f} s ({total / start:.2f} times)"
    )


if __name__ == "__main__":
    main()
