"""Labels: taken once, the first stays, wrong ones named."""

import uuid
from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from apps.core import clock
from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.monitoring import selectors, services
from apps.monitoring.models import PredictionLabel
from tests.deployments.world import actions, events
from tests.monitoring.traffic import Traffic

pytestmark = pytest.mark.django_db


def row(request_id="r-1", index=0, label=1):
    return {"request_id": request_id, "row": index, "label": label}


def test_repeats_change_nothing_and_a_contradiction_does_not_replace_the_first(elena, endpoints):
    endpoint = endpoints()
    take = lambda *rows: services.record_labels(actor=elena, endpoint_id=endpoint.id, rows=list(rows))  # noqa: E731
    counted = lambda report: (report.accepted, report.repeated, report.contradicting, report.corrected)  # noqa: E731
    assert counted(take(row(), row("r-1", 1), row("r-2", label=0))) == (3, 0, 0, 0)
    assert counted(take(row(), row("r-3"))) == (1, 1, 0, 0)
    contradicted = take(row(label=0))
    assert counted(contradicted) == (0, 0, 1, 0)
    assert contradicted.contradictions == [{"request_id": "r-1", "row": 0, "kept": 1.0, "sent": 0.0}]
    assert PredictionLabel.objects.get(request_id="r-1", row=0).label == 1.0
    assert actions().count("monitoring.labels.recorded") == 2


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (row(""), "request_id"), (row(5), "request_id"), (row("x" * 129), "request_id"), (row(index=-1), "row"), (row(index="0"), "row"),
        (row(label="yes"), "label"), (row(label=float("nan")), "label"), (row(label=None), "label"), (row("good", label=0), "label"),
    ],
)  # fmt: skip
def test_a_wrong_row_refuses_the_batch_and_is_named(elena, endpoints, bad, name):
    with pytest.raises(Invalid) as refusal:
        services.record_labels(actor=elena, endpoint_id=endpoints().id, rows=[row("good"), bad])
    assert f"labels[1].{name}" in refusal.value.errors and not PredictionLabel.objects.exists()


def test_strangers_do_not_find_the_endpoint_and_readers_may_not_post(elena, endpoints, make_user, actor_of):
    endpoint = endpoints()
    with pytest.raises(NotFound):
        services.record_labels(actor=actor_of(make_user("ml_engineer")), endpoint_id=endpoint.id, rows=[row()])
    with pytest.raises(NotAllowed):
        services.record_labels(actor=actor_of(make_user("auditor")), endpoint_id=endpoint.id, rows=[row()])


@pytest.fixture
def traffic(settings, tmp_path, endpoints):
    """Captures of an endpoint; `first` is the id of a request of two rows, answered just now."""
    settings.CAPTURE_DIR = tmp_path
    made = Traffic(tmp_path, endpoints())
    made.first = uuid.uuid4().hex
    made.write([{"request_id": made.first, "row": index, "client_id": "their-7"} for index in (0, 1)], clock.now() - timedelta(minutes=1))
    made.write([{"request_id": "refused", "status": 422}, {"request_id": "copy", "shadow": True}], clock.now() - timedelta(minutes=1))
    return made


def send(actor, traffic, *rows, **how):
    return services.record_labels(actor=actor, endpoint_id=traffic.endpoint.id, rows=list(rows), **how)


def test_labels_that_belong_to_no_captured_answer_are_taken_counted_and_listed(elena, traffic):
    report = send(elena, traffic, row(traffic.first), row("their-7", 1), row(traffic.first, 2), row("unknown"), row("refused"), row("copy"))
    assert (report.accepted, report.unmatched) == (6, 4)
    alone = {(r["request_id"], r["row"]) for r in report.without_prediction}
    assert alone == {(traffic.first, 2), ("unknown", 0), ("refused", 0), ("copy", 0)}
    listed = selectors.labels(elena, traffic.endpoint.slug, state="unmatched")
    assert {(p.request_id, p.row) for p in listed} == alone and all(p.received_from == elena.label for p in listed)
    assert selectors.label_counts(traffic.endpoint.id) == {"in_force": 6, "unmatched": 4, "corrected": 0}
    assert events("monitoring.labels.recorded")[-1]["after"]["unmatched"] == 4


def test_strict_refuses_the_batch_by_row_and_stores_nothing(elena, traffic):
    with pytest.raises(Invalid, match="1 of 2 labels have none; nothing was stored") as refused:
        send(elena, traffic, row(traffic.first), row("unknown"), strict=True)
    assert list(refused.value.errors) == ["labels[1].request_id"] and not PredictionLabel.objects.exists()
    assert send(elena, traffic, row(traffic.first), strict=True).accepted == 1


def test_a_label_that_came_before_its_capture_is_matched_later_by_the_schedule(elena, traffic, system):
    assert send(elena, traffic, row("late"), row("never")).unmatched == 2
    assert services.match_labels(actor=elena, endpoint_id=traffic.endpoint.id) == 0
    traffic.write([{"request_id": "late"}], clock.now() - timedelta(seconds=1))
    services.evaluate_due(actor=system)
    assert [p.request_id for p in selectors.labels(elena, traffic.endpoint.slug, state="unmatched")] == ["never"]
    assert services.match_waiting(actor=system) == 0


def test_a_correction_takes_the_place_and_both_stay_visible(elena, traffic):
    send(elena, traffic, row(traffic.first))
    report = send(elena, traffic, row(traffic.first, label=0), correct=True)
    assert (report.accepted, report.corrected, report.contradicting, report.unmatched) == (0, 1, 0, 0)
    old, new = PredictionLabel.objects.order_by("id")
    assert (old.label, old.superseded_by, new.label, new.first_received_at) == (1.0, new, 0.0, old.received_at)
    assert [p.label for p in selectors.labels(elena, traffic.endpoint.slug, state="in_force")] == [0.0]
    assert [p.superseded_by.label for p in selectors.labels(elena, traffic.endpoint.slug, state="corrected")] == [0.0]
    event = events("monitoring.labels.corrected")[-1]
    assert event["before"]["first_rows"] == [[traffic.first, 0, 1]] and event["after"]["first_rows"] == [[traffic.first, 0, 0]]
    again = send(elena, traffic, row(traffic.first, label=0), correct=True)
    assert (again.repeated, again.corrected) == (1, 0)


def test_one_row_has_one_label_in_force_whatever_writes_it(elena, traffic):
    send(elena, traffic, row(traffic.first))
    moment = clock.now()
    with pytest.raises(IntegrityError, match="monitoring_label_once"), transaction.atomic():
        PredictionLabel.objects.create(
            endpoint=traffic.endpoint, request_id=traffic.first, row=0, label=0, received_at=moment, first_received_at=moment
        )


@pytest.mark.parametrize(
    "statement",
    ["SET label = 0", "SET received_from = 'x'", "SET matched_at = NULL", "SET matched_at = now() + interval '1 day'", "DELETE"],
)
def test_raw_sql_cannot_change_a_label_that_was_matched(elena, traffic, statement):
    send(elena, traffic, row(traffic.first))
    sql = "DELETE FROM monitoring_predictionlabel" if statement == "DELETE" else f"UPDATE monitoring_predictionlabel {statement}"
    with pytest.raises(DatabaseError, match="a label is kept"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


def test_over_rest(api, engineer, traffic):
    client, path = api(engineer), f"/api/v1/endpoints/{traffic.endpoint.slug}/labels/"
    assert client.post(path, {"labels": [row(traffic.first), row("unknown")]}).json() == {
        "accepted": 2, "repeated": 0, "contradicting": 0, "corrected": 0, "unmatched": 1, "contradictions": [],
        "without_prediction": [{"request_id": "unknown", "row": 0}],
    }  # fmt: skip
    refused = client.post(path, {"labels": [row("other")], "strict": True})
    assert refused.status_code == 400 and "labels[0].request_id" in refused.json()["errors"]
    assert client.post(path, {"labels": [row(traffic.first, label=0)], "correct": True}).json()["corrected"] == 1
    corrected = client.get(path, {"state": "corrected"}).json()["results"]
    assert [(r["label"], r["corrected_to"]) for r in corrected] == [(1.0, 0.0)]
    assert [r["request_id"] for r in client.get(path, {"state": "unmatched"}).json()["results"]] == ["unknown"]
    assert len(client.get(path).json()["results"]) == 3 and client.get(path, {"state": "lost"}).status_code == 400
    assert client.post(path, {"labels": "all"}).status_code == 400
    assert client.post(path, {"labels": [row()], "strict": "yes"}).status_code == 400
    assert client.post(path, [1]).status_code == 400
    assert api(engineer, scopes=("read",)).post(path, {"labels": [row()]}).status_code == 403
