"""One search box, filtered by who asks; a list whose cost does not follow the size of the registry."""

import pytest
from django.db import connection

from apps.core.errors import Invalid, UpstreamFailed
from apps.registry import selectors, services
from apps.registry.models import Dataset, ModelVersion, RegisteredModel
from apps.registry.selectors.scans import contact
from apps.registry.selectors.search import asked, search
from tests.registry.world import make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(system):
    """A model with a card, tags, a failure mode and data."""
    version = make_version(tags={"team": "geriatrics"})
    RegisteredModel.objects.filter(name="care-outreach").update(tags={"area": "cardiology"})
    services.save_card(actor=system, version_id=version.id, limitations="Wrong for hemodialysis patients.")
    services.record_failure_mode(actor=system, model="care-outreach", title="Night calls", condition="After midnight", effect="Random", severity="low")
    services.govern_dataset(actor=system, dataset_id=Dataset.objects.get(name="visits-training").id, permissions="Research under protocol 77")
    return version


@pytest.mark.parametrize(
    ("words", "kind", "title"),
    [
        ("outreach", "model", "care-outreach"), ("care-outreach", "model", "care-outreach"), ("cardiol", "model", "care-outreach"), ("geriatrics", "version", "care-outreach/1"),
        ("hemodialysis", "card", "Card of care-outreach/1"), ("midnight", "failure mode", "Night calls"), ("visits-tra", "dataset", "visits-training"), ("protocol 77", "dataset", "visits-training"),
    ],
)  # fmt: skip
def test_one_box_finds_every_kind(system, world, words, kind, title):
    assert (kind, title) in [(h.kind, h.title) for h in search(system, words)]


def test_every_word_has_to_be_there_and_signs_mean_nothing(system, world):
    assert search(system, "outreach zebra") == [] and search(system, "&|!():*'") == [] and search(system, "") == []
    assert asked("a & b:* | 'c'") == "a:* & b:* & c:*"
    with pytest.raises(Invalid, match="q: at most"):
        asked("x" * 201)


def test_a_stranger_finds_nothing(world, make_user, api):
    stranger = api(make_user("stakeholder"))
    for words in ("outreach", "hemodialysis", "midnight", "visits", "protocol"):
        assert stranger.get(f"/api/v1/registry/search/?q={words}").json()["results"] == []
    found = api(make_user("ml_engineer")).get("/api/v1/registry/search/?q=hemodialysis").json()["results"]
    assert found[0]["kind"] == "card" and found[0]["version"] == 1


def test_the_search_takes_a_fixed_number_of_queries(system, world, django_assert_max_num_queries):
    for number in range(1, 30):
        make_version(f"outreach-{number}", 1)
    with django_assert_max_num_queries(10):
        assert len(search(system, "outreach")) >= 20


def test_a_page_of_models_is_found_by_index_and_counts_only_its_own_versions(system):
    make_version(number=1), make_version(number=2)
    RegisteredModel.objects.create(name="empty")
    rows = {m.name: (m.version_count, m.latest_version) for m in selectors.models(system)}
    assert rows == {"care-outreach": (2, 2), "empty": (0, None)}
    with connection.cursor() as cursor:
        # With few rows the planner may sort what it could read in order; what is asked here is whether the index can give the order.
        for way in ("seqscan", "bitmapscan", "sort", "hashagg"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
        sql, values = selectors.models(system)[:100].query.sql_with_params()
        cursor.execute("EXPLAIN " + sql, values)
        plan = "\n".join(r[0] for r in cursor.fetchall())
    assert "Index Scan Backward" in plan and "HashAggregate" not in plan and "Sort" not in plan.split("SubPlan")[0], plan


def test_what_mlflow_does_not_answer_is_noted_and_forgotten_again(monkeypatch):
    from apps.registry.services import sync

    def away():
        raise UpstreamFailed("MLflow does not answer.")

    monkeypatch.setattr(sync, "call", lambda function, *a, **k: function(*a, **k))
    monkeypatch.setattr(sync, "_discover", away)
    with pytest.raises(UpstreamFailed):
        services.discover()
    first = contact().failing_since
    with pytest.raises(UpstreamFailed):
        services.discover()
    assert first and contact().failing_since == first and contact().reached_at is None
    monkeypatch.setattr(sync, "_discover", lambda: 0)
    monkeypatch.setattr(sync.mlflow, "server_version", lambda: "3.18.0")
    services.discover()
    assert contact().other_version == "3.18.0" and contact().failing_since is None and contact().reached_at and ModelVersion.objects.count() == 0
