"""The client against a small endpoint on a real socket that decides by the rule of thumb."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from demo import story, traffic

KEY = "ghe_12345678_secret"


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[dict[str, Any]]
    labels: list[dict[str, Any]]
    busy_first: int

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self._reply(401, {"title": "Unauthorized"})
        elif self.path.endswith("/labels/"):
            self.labels.extend(body["labels"])
            self._reply(200, {"accepted": len(body["labels"])})
        elif len(self.seen) < self.busy_first:
            self.seen.append({})
            self._reply(429, {"title": "Too many requests"}, {"Retry-After": "0.1"})
        else:
            self.seen.append(body)
            columns = {tensor["name"]: tensor["data"] for tensor in body["inputs"]}
            count = body["inputs"][0]["shape"][0]
            decided = [story.rule_of_thumb({name: values[i] for name, values in columns.items()}) for i in range(count)]
            outputs = [{"name": "prediction", "shape": [count], "datatype": "INT64", "data": decided}]
            self._reply(
                200, {"outputs": outputs}, {"X-Gatehouse-Request-Id": "kept-" + body["id"], "X-Gatehouse-Model-Version": "care-outreach/1"}
            )

    def _reply(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(payload))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[tuple[str, type[Endpoint]]]:
    handler = type("Handler", (Endpoint,), {"seen": [], "labels": [], "busy_first": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()
    thread.join()


def rows(count: int) -> list[traffic.Row]:
    well = dict.fromkeys(story.FEATURES, 0.0)
    return [traffic.Row(f"m{i:05d}-y1", {**well, "health_rating": float(i % 4)}, i % 2) for i in range(count)]


def send(url: str, count: int, **options: Any) -> list[traffic.Answer]:
    settings: dict[str, Any] = {"infer_url": f"{url}/v2/models/care/infer", "api_key": KEY, "rate_rps": 1_000.0}
    return list(traffic.send(rows(count), **{**settings, **options}))


def test_answers_come_in_order_with_a_decision_for_each_row(endpoint: tuple[str, type[Endpoint]]) -> None:
    answers = send(endpoint[0], 25, batch_rows=10)
    assert [len(answer.decisions) for answer in answers] == [10, 10, 5]
    assert [row.row_id for answer in answers for row in answer.rows] == [row.row_id for row in rows(25)]
    assert [made for answer in answers for made in answer.decisions] == [int(i % 4 >= 2) for i in range(25)]
    assert traffic.summary(answers) == {
        "requests": 3,
        "rows_answered": 25,
        "refused_by_status": {},
        "requests_by_model_version": {"care-outreach/1": 3},
    }


def test_columns_are_named_and_typed_as_the_protocol_wants(endpoint: tuple[str, type[Endpoint]]) -> None:
    send(endpoint[0], 2, batch_rows=2, run="r1")
    [body] = endpoint[1].seen
    assert body["id"] == "r1-m00000-y1"
    assert [tensor["name"] for tensor in body["inputs"]] == list(story.FEATURES)
    assert {(tensor["datatype"], tuple(tensor["shape"]), len(tensor["data"])) for tensor in body["inputs"]} == {("FP64", (2,), 2)}


def test_the_same_rows_sent_twice_are_different_requests(endpoint: tuple[str, type[Endpoint]]) -> None:
    first, second = send(endpoint[0], 3), send(endpoint[0], 3)
    assert not {answer.request_id for answer in first} & {answer.request_id for answer in second}


def test_no_more_requests_are_sent_than_asked_for(endpoint: tuple[str, type[Endpoint]]) -> None:
    assert len(send(endpoint[0], 50, max_requests=7)) == 7
    assert len(endpoint[1].seen) == 7


def test_a_busy_endpoint_is_asked_again(endpoint: tuple[str, type[Endpoint]]) -> None:
    endpoint[1].busy_first = 2
    assert [answer.status for answer in send(endpoint[0], 4, concurrency=1)] == [200] * 4


def test_a_refusal_is_yielded_and_never_labelled(endpoint: tuple[str, type[Endpoint]]) -> None:
    answers = send(endpoint[0], 3, api_key="ghe_wrong")
    assert [answer.status for answer in answers] == [401] * 3
    assert traffic.labels_of(answers) == []
    assert traffic.summary(answers)["refused_by_status"] == {"401": 3}


def test_a_lost_connection_is_status_zero_and_does_not_show_the_key() -> None:
    [answer] = send("http://127.0.0.1:9", 1)
    assert answer.status == 0
    assert KEY not in answer.detail


def test_labels_name_the_request_as_the_endpoint_kept_it_and_the_row_inside(endpoint: tuple[str, type[Endpoint]]) -> None:
    url, handler = endpoint
    labels = traffic.labels_of(send(url, 5, batch_rows=3, run="r"))
    assert traffic.post_labels(labels, base_url=url, endpoint_slug="care", token=KEY) == 5
    assert handler.labels == [
        {"request_id": "kept-r-m00000-y1", "row": 0, "label": 0},
        {"request_id": "kept-r-m00000-y1", "row": 1, "label": 1},
        {"request_id": "kept-r-m00000-y1", "row": 2, "label": 0},
        {"request_id": "kept-r-m00003-y1", "row": 0, "label": 1},
        {"request_id": "kept-r-m00003-y1", "row": 1, "label": 0},
    ]


def test_refused_labels_raise(endpoint: tuple[str, type[Endpoint]]) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        traffic.post_labels([{"request_id": "a", "row": 0, "label": 1}], base_url=endpoint[0], endpoint_slug="care", token="wrong")
