"""Datasets: who saw them, what holds for them, and OpenLineage out and in."""

import copy
import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.decisions.models import Decision
from apps.registry import services
from apps.registry.models import Dataset, LineageEvent, RunEdge
from apps.registry.rules import openlineage
from apps.registry.selectors import datasets as reads
from tests.registry.world import make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def elena(make_user, actor_of):
    """An engineer."""
    return actor_of(make_user("ml_engineer"))


def admit(version, environment="production"):
    return Decision.objects.create(
        kind="deploy", usecase_id=uuid.uuid4(), environment=environment, artifact_digest=version.artifact_digest, gate_id=uuid.uuid4(),
        evidence_digest="sha256:" + "0" * 64, issued_at=now() - timedelta(hours=1), expires_at=now() + timedelta(days=1),
    )  # fmt: skip


def test_which_versions_saw_a_dataset_and_which_of_them_are_in_production(elena):
    one, two = make_version(number=1), make_version(number=2)
    make_version("other", 1)
    admit(two)
    data = Dataset.objects.get(name="visits-training")
    assert {u.version.label for u in reads.uses(elena, [data])} == {"care-outreach/1", "care-outreach/2", "other/1"}
    assert [u.version.id for u in reads.uses(elena, [data], production=True)] == [two.id]
    assert one.id in {u.version.id for u in reads.uses(elena, [data], production=False)}


def test_the_api_answers_in_both_directions(make_user, api):
    version = make_version()
    admit(version)
    client = api(make_user("ml_engineer"))
    row = next(r for r in client.get("/api/v1/datasets/").json()["results"] if r["name"] == "visits-training")
    assert row["models"] == 1 and row["versions"] == 1
    at = f"/api/v1/datasets/{row['newest_id']}/"
    told = client.get(at).json()
    assert told["dataset"]["profile"] == {"num_rows": 1200} and told["missing"] == ["owner", "permissions", "retention", "sensitivity"]
    assert client.get(f"{at}versions/?production=true").json()["results"][0]["in_production"] is True
    graph = client.get(f"{at}lineage/").json()
    assert {n["kind"] for n in graph["nodes"]} == {"dataset", "run", "version"}
    forward = client.get("/api/v1/models/care-outreach/versions/1/lineage/graph/").json()
    assert len([n for n in forward["nodes"] if n["kind"] == "dataset"]) == 2
    stranger = api(make_user("stakeholder"))
    assert stranger.get(at).status_code == 404 and stranger.get("/api/v1/datasets/").json()["results"] == []


def test_what_holds_for_a_dataset_is_saved_audited_and_guarded(elena, make_user, actor_of, events):
    make_version()
    data = Dataset.objects.get(name="visits-training")
    owner = make_user("ml_engineer")
    row = services.govern_dataset(actor=elena, dataset_id=data.id, revision=0, retention="Two years", sensitivity="personal", owner_email=owner.email)
    assert row.revision == 1 and row.owner == owner and events("registry.dataset.governed")[0].facts["after"]["retention"] == "Two years"
    assert services.govern_dataset(actor=elena, dataset_id=data.id, retention="Two years").revision == 1
    with pytest.raises(Conflict):
        services.govern_dataset(actor=elena, dataset_id=data.id, revision=0, retention="Three years")
    with pytest.raises(Invalid, match="sensitivity"):
        services.govern_dataset(actor=elena, dataset_id=data.id, sensitivity="secret")
    with pytest.raises(NotAllowed):
        services.govern_dataset(actor=actor_of(make_user("auditor")), dataset_id=data.id, retention="x")
    with pytest.raises((NotFound, NotAllowed)):
        services.govern_dataset(actor=actor_of(make_user("stakeholder")), dataset_id=data.id, retention="x")


def test_the_list_takes_no_more_queries_for_many(elena, django_assert_max_num_queries):
    for number in range(1, 25):
        make_version(f"model-{number}", 1)
        Dataset.objects.create(name=f"data-{number}", digest="d")
    with django_assert_max_num_queries(10):
        assert len(reads.listed(elena)) == 26


EVENT = {
    "eventType": "COMPLETE", "eventTime": "2026-03-01T08:00:00Z", "run": {"runId": str(uuid.UUID(hex=f"{1:032x}"))},
    "job": {"namespace": "airflow", "name": "visits.daily"}, "producer": "https://example.org/etl", "schemaURL": openlineage.RUN_EVENT,
    "inputs": [{"namespace": "s3://lake", "name": "visits/raw", "facets": {"version": {"_producer": "https://e.org", "_schemaURL": "https://e.org/s", "datasetVersion": "v7"}}}],
    "outputs": [{"namespace": "s3://lake", "name": "visits/clean"}],
}  # fmt: skip


def conforms(event):
    """Required fields and types of RunEvent in the specification 2-0-2."""
    assert {"eventTime", "producer", "schemaURL", "run", "job"} <= set(event) <= {"eventType", "eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"}
    uuid.UUID(event["run"]["runId"])
    assert event["eventType"] in openlineage.EVENT_TYPES and {"namespace", "name"} <= set(event["job"])
    for each in (*event["inputs"], *event["outputs"]):
        assert {"namespace", "name"} <= set(each) <= {"namespace", "name", "facets", "inputFacets", "outputFacets"}
        for facet in (*each.get("facets", {}).values(), *each.get("inputFacets", {}).values()):
            assert {"_producer", "_schemaURL"} <= set(facet)


def test_a_version_is_exported_as_a_start_and_a_complete_event(make_user, api):
    version = make_version()
    events = api(make_user("ml_engineer")).get("/api/v1/models/care-outreach/versions/1/lineage/openlineage/").json()
    assert [e["eventType"] for e in events] == ["START", "COMPLETE"]
    for event in events:
        conforms(event)
        openlineage.read_event(event)
    assert uuid.UUID(events[1]["run"]["runId"]).hex == version.run_id
    made = events[1]["outputs"][0]
    assert made["facets"]["version"]["datasetVersion"] == "1" and made["facets"]["gatehouse_artifact"]["digest"] == version.artifact_digest
    assert {i["name"]: i["facets"]["version"]["datasetVersion"] for i in events[0]["inputs"]} == {"visits-training": "dtrai", "visits-validation": "dvali"}


def test_an_event_joins_datasets_and_run_once(elena, events):
    version = make_version()
    row, new = services.accept_openlineage(actor=elena, event=EVENT)
    assert new and row.event_at.isoformat() == "2026-03-01T08:00:00+00:00"
    assert services.accept_openlineage(actor=elena, event=EVENT) == (row, False)
    assert {(e.dataset.name, e.dataset.digest, e.direction) for e in RunEdge.objects.all()} == {("s3://lake/visits/raw", "v7", "input"), ("s3://lake/visits/clean", "unversioned", "output")}
    raw = Dataset.objects.get(digest="v7")
    assert [u.version.id for u in reads.uses(elena, [raw])] == [version.id]
    assert len(events("registry.lineage.received")) == 1 and version.inputs.count() == 2
    again, new = services.accept_openlineage(actor=elena, event={**EVENT, "eventType": "RUNNING"})
    assert new and RunEdge.objects.count() == 2 and again.id != row.id


def test_our_own_export_comes_back_without_a_new_dataset(elena):
    version = make_version()
    for event in reads.openlineage_events(version):
        services.accept_openlineage(actor=elena, event=event)
    assert Dataset.objects.count() == 2 and {e.direction for e in RunEdge.objects.all()} == {"input"}


def spoilt(path, value):
    made = copy.deepcopy(EVENT)
    spot = made
    for step in path[:-1]:
        spot = spot[step]
    spot[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ([], "event"), (spoilt(["eventType"], "DONE"), "eventType"), (spoilt(["eventTime"], "yesterday"), "eventTime"), (spoilt(["eventTime"], "2026-03-01T08:00:00"), "eventTime"),
        (spoilt(["run"], None), "run"), (spoilt(["run", "runId"], "7"), "run.runId"), (spoilt(["job", "name"], ""), "job.name"), (spoilt(["producer"], "me"), "producer"),
        (spoilt(["inputs"], {}), "inputs"), (spoilt(["inputs", 0, "namespace"], None), "inputs[0].namespace"), (spoilt(["inputs", 0, "facets", "version", "_producer"], "x"), "inputs[0].facets.version._producer"),
        (spoilt(["outputs", 0], "x"), "outputs[0]"), (spoilt(["job", "name"], "a\x00b"), "event"), (spoilt(["inputs", 0, "facets", "version", "datasetVersion"], "x" * 65), "inputs[0].facets.version.datasetVersion"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_event_is_named(event, field):
    with pytest.raises(Invalid) as refused:
        openlineage.read_event(event)
    assert list(refused.value.errors) == [field]


def test_the_api_takes_events_of_engineers(make_user, api):
    make_version()
    client = api(make_user("ml_engineer"))
    assert client.post("/api/v1/lineage/openlineage/", EVENT, format="json").status_code == 201
    assert client.post("/api/v1/lineage/openlineage/", EVENT, format="json").json()["accepted"] is False
    assert list(client.post("/api/v1/lineage/openlineage/", {"eventType": "START"}, format="json").json()["errors"]) == ["run"]
    assert api(make_user("auditor")).post("/api/v1/lineage/openlineage/", EVENT, format="json").status_code == 403


def test_the_database_keeps_events_as_they_came(elena):
    services.accept_openlineage(actor=elena, event=EVENT)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM registry_runedge; DELETE FROM registry_lineageevent")
    assert LineageEvent.objects.count() == 1
