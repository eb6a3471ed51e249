"""What has to be done before a use case may be retired: nothing of it runs, nobody calls it, its data has an end."""

from __future__ import annotations

from typing import Any

from tests.journeys.portals import RunningPortal, until


def wind_down(portal: RunningPortal, usecase: str) -> None:
    """Stop what runs, revoke every caller's key, say how long the datasets are kept, close what is open; over REST."""
    engineer, admin = portal.ctx.engineer, portal.ctx.people["admin"]
    for incident in engineer.pages("incidents/", usecase=usecase, open="true"):
        engineer.post(f"incidents/{incident['id']}/close/", {"resolution": "The use case ends."})
    endpoints = [e["slug"] for e in engineer.pages("endpoints/", usecase=usecase)]
    for endpoint in endpoints:
        for key in engineer.get(f"endpoints/{endpoint}/")["keys"]:
            engineer.call("DELETE", f"endpoints/{endpoint}/keys/{key['id']}/")

    def running() -> list[dict[str, Any]]:
        rows = [d for endpoint in endpoints for d in engineer.pages("deployments/", endpoint=endpoint)]
        return [d for d in rows if d["desired"] == "running" or d["observed"] not in ("stopped", "failed", "unknown")]

    for deployment in running():
        if deployment["desired"] == "running":
            engineer.post(f"deployments/{deployment['id']}/stop/", {"reason": "The use case ends."})
    until("every engine to stop", lambda: not running())
    for dataset in engineer.get("datasets/")["results"]:
        admin.call("PATCH", f"datasets/{dataset['newest_id']}/", json={"retention": "Public data; the copies are deleted with the use case."})
