"""Labels: taken once, the first stays, wrong ones named."""

import pytest

from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.monitoring import services
from apps.monitoring.models import PredictionLabel
from apps.monitoring.services import LabelReport
from tests.deployments.world import actions

pytestmark = pytest.mark.django_db


def row(request_id="r-1", index=0, label=1):
    return {"request_id": request_id, "row": index, "label": label}


def test_repeats_change_nothing_and_a_contradiction_does_not_replace_the_first(elena, endpoints):
    endpoint = endpoints()
    take = lambda *rows: services.record_labels(actor=elena, endpoint_id=endpoint.id, rows=list(rows))  # noqa: E731
    assert take(row(), row("r-1", 1), row("r-2", label=0)) == LabelReport(3, 0, 0)
    assert take(row(), row("r-3")) == LabelReport(1, 1, 0)
    assert take(row(label=0)) == LabelReport(0, 0, 1)
    assert PredictionLabel.objects.get(request_id="r-1", row=0).label == 1.0
    assert actions().count("monitoring.labels.recorded") == 2


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (row(""), "request_id"), (row(5), "request_id"), (row("x" * 129), "request_id"), (row(index=-1), "row"), (row(index="0"), "row"),
        (row(label="yes"), "label"), (row(label=float("nan")), "label"), (row(label=None), "label"),
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


def test_over_rest(api, engineer, endpoints):
    client, path = api(engineer), f"/api/v1/endpoints/{endpoints().slug}/labels/"
    assert client.post(path, {"labels": [row()]}).json() == {"accepted": 1, "repeated": 0, "contradicting": 0}
    assert client.post(path, {"labels": "all"}).status_code == 400
    assert client.post(path, [1]).status_code == 400
    assert api(engineer, scopes=("read",)).post(path, {"labels": [row()]}).status_code == 403
