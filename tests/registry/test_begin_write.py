"""What the trail keeps of a write: what was there, what is asked for, and no more of it than anybody reads."""

import pytest

from apps.core.errors import NotAllowed
from apps.registry import services
from apps.registry.models import Experiment, ModelVersion, RegisteredModel

pytestmark = pytest.mark.django_db


@pytest.fixture
def write(make_user, actor_of, events):
    """write(obj_type, key, **sent) -> the facts of the event."""
    actor = actor_of(make_user("ml_engineer"))

    def make(obj_type, named, /, route="POST /x", **sent):
        obj_id = str(next(iter(named.values())))
        services.begin_write(actor=actor, route=route, obj_type=obj_type, obj_id=obj_id, after={}, key=named, sent={**named, **sent})
        return events("registry.mlflow.written", obj_id)[-1].facts

    return make


@pytest.fixture
def row(db):
    model = RegisteredModel.objects.create(name="care", description="Old words.", tags={"team": "care"})
    return ModelVersion.objects.create(model=model, version=1, run_id="r1", description="First.", tags={"seen": "no"}, run_name="try")


def test_words_and_tags_with_what_they_replace(write, row):
    facts = write("registeredmodel", {"name": "care"}, description="New words.")
    assert facts["before"] == {"description": "Old words."} and facts["after"] == {"route": "POST /x", "description": "New words."}
    facts = write("registeredmodel", {"name": "care"}, key="team", value="sales")
    assert facts["before"] == {"tags": {"team": "care"}} and facts["after"]["tags"] == {"team": "sales"}
    facts = write("modelversion", {"name": "care", "version": "1"}, key="seen", value="yes")
    assert facts["before"] == {"tags": {"seen": "no"}} and facts["after"]["tags"] == {"seen": "yes"}
    facts = write("modelversion", {"name": "care", "version": "1"}, key="seen")
    assert facts["before"] == {"tags": {"seen": "no"}} and facts["after"]["tags"] == {"seen": None}
    facts = write("registeredmodel", {"name": "care"}, newName="other")
    assert facts["before"] == {"name": "care"} and facts["after"]["new_name"] == "other"
    facts = write("run", {"run_id": "r1"}, run_name="second try", tags=[{"key": "seen", "value": "later"}])
    assert facts["before"] == {"run_name": "try", "tags": {"seen": "no"}}


def test_an_alias_with_where_it_pointed(write, row, system):
    services.record_alias(actor=system, model="care", alias="challenger", version=1)
    facts = write("modelversion", {"name": "care", "alias": "Challenger", "version": "2"})
    assert facts["before"] is None or facts["before"].get("aliases") is None
    facts = write("registeredmodel", {"name": "care", "alias": "Challenger"})
    assert facts["before"]["aliases"] == {"challenger": 1} and facts["after"]["alias"] == "Challenger"


def test_what_is_deleted_is_told(write, row):
    assert write("registeredmodel", {"name": "care"})["before"] == {"versions": 1, "description": "Old words."}
    assert write("modelversion", {"name": "care", "version": "1"})["before"] == {"status": "pending", "artifact_digest": ""}


def test_an_experiments_new_name(write):
    Experiment.objects.create(mlflow_id="77", name="old")
    facts = write("experiment", {"experiment_id": "77"}, new_name="new")
    assert facts["before"] == {"name": "old"} and facts["after"]["new_name"] == "new"


def test_figures_are_counted_and_digested_not_kept(write):
    metrics = [{"key": f"m{n}", "value": n, "timestamp": 1, "step": 0} for n in range(500)]
    first = write("run", {"run_id": "r9"}, metrics=metrics, params=[{"key": "depth", "value": "3"}])["after"]
    assert first["metrics"]["count"] == 500 and first["params"]["count"] == 1 and "m1" not in str(first)
    second = write("run", {"run_id": "r9"}, metrics=[*metrics[:-1], {"key": "m499", "value": 0, "timestamp": 1, "step": 0}])["after"]
    assert second["metrics"]["count"] == 500 and second["metrics"]["digest"] != first["metrics"]["digest"]
    for name, counted in (("log-metric", "metrics"), ("log-parameter", "params")):
        one = write("run", {"run_id": "r9"}, route=f"POST /runs/{name}", key="secret sauce", value="0.5", timestamp=1)["after"]
        assert one[counted]["count"] == 1 and "secret sauce" not in str(one)


def test_long_text_is_cut_and_secrets_are_left_out(write, row):
    facts = write("registeredmodel", {"name": "care"}, description="x" * 5000)
    assert len(facts["after"]["description"]) < 600 and "5,000 characters" in facts["after"]["description"]
    facts = write("registeredmodel", {"name": "care"}, tags=[{"key": "hf_token", "value": "s3cret"}, {"key": "team", "value": "care"}])
    assert "s3cret" not in str(facts) and facts["after"]["tags"]["team"] == "care"
    facts = write("run", {"run_id": "r9"}, tags=[{"key": f"t{n}", "value": "v"} for n in range(500)])
    assert len(facts["after"]["tags"]) <= 51


def test_odd_bodies_do_not_stop_the_trail(write):
    for sent in ({"tags": "none"}, {"tags": [1, None]}, {"metrics": {"a": [1]}}, {"version": 10**30}, {"description": None}, {"key": 5}):
        assert write("run", {"run_id": "r9"}, **sent)["after"]["route"] == "POST /x"


def test_only_those_who_may_write_at_all(make_user, actor_of):
    with pytest.raises(NotAllowed):
        services.begin_write(actor=actor_of(make_user("auditor")), route="POST /x", obj_type="run", obj_id="r", after={})
