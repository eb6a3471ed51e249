"""Sends the story's rows to an endpoint as its users would, and posts what became of them.

Knows only public doors: the Open Inference Protocol V2 of the endpoint and the labels address of the REST API.
Needs httpx, nothing of the portal. Rows are the JSON files that `python -m demo.data --out DIR` writes.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

TIMEOUT_S = 30.0
LABELS_PER_POST = 1_000
_TRIES = 5


@dataclass(frozen=True)
class Row:
    """One row to decide: its own id, the named features and what became of it (`label` 0 or 1)."""

    row_id: str
    features: dict[str, float]
    label: int


@dataclass(frozen=True)
class Answer:
    """What came back for one request. `decisions` is empty unless `status` is 200.

    `request_id` is the id under which the endpoint keeps the request; `rows` are those sent, in order.
    """

    request_id: str
    rows: list[Row]
    status: int
    latency_ms: float
    deployment: str = ""
    model_version: str = ""
    decisions: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    detail: str = ""


def load_rows(path: Path) -> list[Row]:
    """Rows of one dumped window, in the file's order."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [Row(row["request_id"], row["features"], int(row["label"])) for row in rows]


def infer_body(rows: Sequence[Row], *, request_id: str) -> dict[str, Any]:
    """Open Inference Protocol request: one FP64 tensor of shape [n] for each named column."""
    names = list(rows[0].features)
    return {
        "id": request_id,
        "inputs": [
            {
                "name": name,
                "shape": [len(rows)],
                "datatype": "FP64",
                "data": [row.features[name] for row in rows],
            }
            for name in names
        ],
    }


def send(
    rows: Iterable[Row],
    *,
    infer_url: str,
    api_key: str,
    rate_rps: float,
    batch_rows: int = 1,
    max_requests: int | None = None,
    concurrency: int = 8,
    run: str = "",
) -> Iterator[Answer]:
    """Send `rows` in requests of `batch_rows` at no more than `rate_rps` requests a second; yield each answer.

    Answers come in the order sent. Request ids are `<run>-<row id of the first row>`; `run` defaults to a random
    word, so that sending the same rows twice makes different requests. 429 and 503 are tried again after the time
    the endpoint asks for, at most five times; any other refusal is yielded, never raised. A lost connection
    has status 0.
    """
    run = run or secrets.token_hex(4)
    batches = islice(_batches(rows, batch_rows), max_requests)
    with (
        httpx.Client(
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            trust_env=False,
        ) as client,
        ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="traffic") as pool,
    ):
        pending: list[Future[Answer]] = []
        started = time.monotonic()
        for number, batch in enumerate(batches):
            wait = started + number / rate_rps - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            pending.append(pool.submit(_ask, client, infer_url, batch, f"{run}-{batch[0].row_id}"))
            while pending and (pending[0].done() or len(pending) >= 4 * concurrency):
                yield pending.pop(0).result()
        for waiting in pending:
            yield waiting.result()


def labels_of(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """The labels of every row that got an answer: `{"request_id", "row", "label"}`, row is the index inside."""
    return [
        {"request_id": answer.request_id, "row": index, "label": row.label}
        for answer in answers
        if answer.status == httpx.codes.OK
        for index, row in enumerate(answer.rows)
    ]


def post_labels(labels: Sequence[dict[str, Any]], *, base_url: str, endpoint_slug: str, token: str) -> int:
    """Post labels to the portal in portions; return how many were posted. Raises httpx.HTTPStatusError if refused."""
    url = f"{base_url.rstrip('/')}/api/v1/endpoints/{endpoint_slug}/labels/"
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S, trust_env=False) as client:
        for start in range(0, len(labels), LABELS_PER_POST):
            portion = list(labels[start : start + LABELS_PER_POST])
            client.post(url, json={"labels": portion}).raise_for_status()
    return len(labels)


def summary(answers: Sequence[Answer]) -> dict[str, Any]:
    """Counts for a person: requests, rows answered, refusals by status, and requests by model version."""
    refused: dict[str, int] = {}
    versions: dict[str, int] = {}
    for answer in answers:
        if answer.status == httpx.codes.OK:
            versions[answer.model_version] = versions.get(answer.model_version, 0) + 1
        else:
            refused[str(answer.status)] = refused.get(str(answer.status), 0) + 1
    return {
        "requests": len(answers),
        "rows_answered": sum(len(answer.decisions) for answer in answers),
        "refused_by_status": refused,
        "requests_by_model_version": versions,
    }


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    source = iter(rows)
    while batch := list(islice(source, size)):
        yield batch


def _ask(client: httpx.Client, url: str, rows: list[Row], request_id: str) -> Answer:
    """One request and its answer; waits and asks again while the endpoint says it is busy."""
    body = infer_body(rows, request_id=request_id)
    for attempt in range(1, _TRIES + 1):
        started = time.perf_counter()
        try:
            response = client.post(url, json=body)
        except httpx.TransportError as error:
            elapsed_ms = (time.perf_counter() - started) * 1_000
            return Answer(request_id, rows, 0, elapsed_ms, detail=type(error).__name__)
        elapsed_ms = (time.perf_counter() - started) * 1_000
        busy = response.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
        if not busy or attempt == _TRIES:
            break
        time.sleep(_retry_after_s(response))
    return _answer_of(response, rows, request_id, elapsed_ms)


def _answer_of(response: httpx.Response, rows: list[Row], request_id: str, elapsed_ms: float) -> Answer:
    headers = response.headers
    kept_id = headers.get("X-Gatehouse-Request-Id", request_id)
    deployment = headers.get("X-Gatehouse-Deployment", "")
    version = headers.get("X-Gatehouse-Model-Version", "")
    if response.status_code != httpx.codes.OK:
        detail = response.text[:500]
        return Answer(kept_id, rows, response.status_code, elapsed_ms, deployment, version, detail=detail)
    outputs = {output["name"]: output["data"] for output in response.json()["outputs"]}
    decisions = [int(value) for value in outputs["prediction"]]
    if len(decisions) != len(rows):
        detail = f"{len(rows)} rows were sent and {len(decisions)} decisions came back"
        return Answer(kept_id, rows, 502, elapsed_ms, deployment, version, detail=detail)
    probabilities = [float(value) for value in outputs.get("probability", [])]
    return Answer(kept_id, rows, 200, elapsed_ms, deployment, version, decisions, probabilities)


def _retry_after_s(response: httpx.Response) -> float:
    """The endpoint's Retry-After in seconds, between 0.1 and 5; 1 when it names none we can read."""
    try:
        return min(max(float(response.headers.get("Retry-After", "1")), 0.1), 5.0)
    except ValueError:
        return 1.0


def main() -> int:
    """Command line: send a dumped window, post its labels if asked, print a summary as JSON.

    The API key comes from GATEHOUSE_API_KEY, the portal token for labels from GATEHOUSE_TOKEN, never from argv.
    """
    parser = argparse.ArgumentParser(description="Send the sample story's rows to an endpoint.")
    parser.add_argument("--rows", type=Path, required=True, help="a file written by python -m demo.data --out")
    parser.add_argument("--infer-url", required=True)
    parser.add_argument("--rate-rps", type=float, default=20.0)
    parser.add_argument("--batch-rows", type=int, default=1)
    parser.add_argument("--max-requests", type=int)
    parser.add_argument("--base-url", help="post the labels to this portal (needs --endpoint-slug)")
    parser.add_argument("--endpoint-slug")
    options = parser.parse_args()
    api_key = os.environ.get("GATEHOUSE_API_KEY", "")
    token = os.environ.get("GATEHOUSE_TOKEN", "")
    if not api_key:
        parser.error("GATEHOUSE_API_KEY is not set; give the endpoint's API key")
    if options.base_url and not (options.endpoint_slug and token):
        parser.error("--base-url needs --endpoint-slug and GATEHOUSE_TOKEN (a portal token)")
    answers = list(
        send(
            load_rows(options.rows),
            infer_url=options.infer_url,
            api_key=api_key,
            rate_rps=options.rate_rps,
            batch_rows=options.batch_rows,
            max_requests=options.max_requests,
        )
    )
    result = summary(answers)
    if options.base_url:
        result["labels_posted"] = post_labels(
            labels_of(answers), base_url=options.base_url, endpoint_slug=options.endpoint_slug, token=token
        )
    print(json.dumps(result))
    return 0 if not result["refused_by_status"] else 1


if __name__ == "__main__":
    sys.exit(main())
