"""Captured rows as the gateway writes them, and labels."""

import json
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from apps.monitoring.gateways.captures import SCHEMA


class Traffic:
    """Writes captures of one endpoint into the capture folder."""

    def __init__(self, folder: Path, endpoint: Any) -> None:
        self.folder, self.endpoint = folder, endpoint

    def write(self, rows: list[dict[str, Any]], at: datetime) -> list[str]:
        """One Parquet file; rows get what they do not say. Returns the request ids."""
        full = []
        for number, row in enumerate(rows):
            full.append(
                {
                    "request_id": f"{uuid.uuid4().hex}", "endpoint_id": str(self.endpoint.id), "shadow": False,
                    "received_at": at + timedelta(milliseconds=number), "latency_ms": 4.0, "status": 200, "row": 0,
                    "features": json.dumps({"age": 1.0}), "prediction": "0", "probability": None, "client_id": None,
                    "model_version": "care-outreach/1", "deployment_id": str(uuid.uuid4()),
                } | row
            )  # fmt: skip
        day = self.folder / str(self.endpoint.id) / f"dt={at:%Y-%m-%d}"
        day.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(full, schema=SCHEMA), day / f"{uuid.uuid4()}.parquet")
        return [r["request_id"] for r in full]

    def both(self, new: Any, old: Any, answers: list[tuple[int, int]], at: datetime) -> list[str]:
        """Each request answered by `new` and, as a copy, by `old`: [(prediction of new, of old)]."""
        rows = []
        for index, (first, second) in enumerate(answers):
            request = {"request_id": f"{uuid.uuid4().hex}", "received_at": at + timedelta(milliseconds=index)}
            rows.append(
                request | {"deployment_id": str(new.id), "model_version": str(new), "prediction": str(first), "shadow": False}
            )
            rows.append(request | {"deployment_id": str(old.id), "model_version": str(old), "prediction": str(second), "shadow": True})
        return self.write(rows, at)[::2]
