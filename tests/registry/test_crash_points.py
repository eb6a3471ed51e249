"""The portal dies, or MLflow answers too late, in the middle of a write: nothing is unrecorded, and nobody's name is lost."""

import uuid

import pytest
from django.db import DatabaseError

from apps.audit import services as audit
from apps.core.doors import call
from apps.outbox.models import Message
from apps.registry import services
from apps.registry.gateways import forward, mlflow
from apps.registry.models import AliasRecord, ModelVersion, RegisteredModel
from apps.registry.services.mirror import mirror_models

pytestmark = pytest.mark.django_db
API = "/api/2.0/mlflow"
REAL_SEND, REAL_READ = forward.send, forward.Answer.read


class Died(BaseException):
    """The process ends here: nothing of ours runs after it."""


def dies_before(*args, **kwargs):
    raise Died


def dies_after(self, most_bytes):
    REAL_READ(self, most_bytes)
    raise Died


def answers_too_late(*args, **kwargs):
    with REAL_SEND(*args, **kwargs) as answer:
        REAL_READ(answer, 10**6)
    raise forward.MlflowUnreachable("MLflow did not answer in time.", sent=True, late=True)


@pytest.fixture
def caller(endpoint, make_user):
    """The endpoint as Emil uses it."""
    made = endpoint(make_user("ml_engineer", name="Emil Engineer"))
    made.label = "Emil Engineer"
    return made


def _deliver_messages():
    """What the relay would have control do once it runs again."""
    does = {"registry.sync": services.sync_version, "registry.look": services.look_at_version, "registry.mirror": services.look_at_model}
    for message in Message.objects.filter(topic__in=does, sent_at=None).order_by("id"):
        does[message.topic](**message.body)
    Message.objects.all().delete()


def test_died_before_mlflow_was_asked_the_trail_holds_the_request_and_nothing_else_happened(caller, name, monkeypatch, events):
    monkeypatch.setattr(forward, "send", dies_before)
    with pytest.raises(Died):
        caller("POST", f"{API}/registered-models/create", {"name": name})
    monkeypatch.undo()
    (event,) = events("registry.mlflow.written", name)
    assert caller.label in event.actor_label and not RegisteredModel.objects.filter(name=name).exists()
    mirror_models()
    assert not RegisteredModel.objects.filter(name=name).exists()


@pytest.mark.parametrize("how", ["died", "late"])
def test_a_model_made_just_before_the_end_has_its_maker(caller, name, monkeypatch, events, how):
    if how == "died":
        monkeypatch.setattr(forward.Answer, "read", dies_after)
        with pytest.raises(Died):
            caller("POST", f"{API}/registered-models/create", {"name": name})
    else:
        monkeypatch.setattr(forward, "send", answers_too_late)
        assert caller("POST", f"{API}/registered-models/create", {"name": name}).status_code == 504
        assert "may have been done" in events("registry.mlflow.failed", name)[0].facts["reason"]
    monkeypatch.undo()
    mirror_models()
    model = RegisteredModel.objects.select_related("owner").get(name=name)
    assert model.owner.full_name == model.author == caller.label
    assert events("registry.model.created", name)[0].facts["after"] == {"author": caller.label}
    mirror_models()
    assert len(events("registry.model.created", name)) == 1


@pytest.mark.parametrize("how", ["died", "late"])
def test_a_version_made_just_before_the_end_has_its_author(caller, register, monkeypatch, events, how):
    first = register(caller)
    body = {"name": first.name, "source": f"mlflow-artifacts:/{first.root}", "run_id": first.run_id}
    if how == "died":
        monkeypatch.setattr(forward.Answer, "read", dies_after)
        with pytest.raises(Died):
            caller("POST", f"{API}/model-versions/create", body)
    else:
        monkeypatch.setattr(forward, "send", answers_too_late)
        assert caller("POST", f"{API}/model-versions/create", body).status_code == 504
    monkeypatch.undo()
    assert not ModelVersion.objects.filter(model__name=first.name, version=2).exists()
    assert (first.name, 2) in set(mlflow.all_versions())
    row = services.sync_version(name=first.name, version=2)
    assert row.author == caller.label and row.author_user is not None
    again = services.sync_version(name=first.name, version=2)
    assert again.id == row.id and len(events("registry.version.created", row.label)) == 1


def _asks(actor, name, behind_the_back, method, path, obj_type="registeredmodel", done=True, **sent):
    """A write whose intent is recorded, which MLflow has done or not, and after which the portal died."""
    route = f"{method} {API}/{path}"
    call(
        services.begin_write, actor=actor, route=route, obj_type=obj_type, obj_id=name, after={}, key={"name": name},
        sent={"name": name, **sent},
    )  # fmt: skip
    if done:
        answer = behind_the_back.request(method, f"{API}/{path}", json={"name": name, **sent})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("done", [True, False])
def test_words_tags_and_aliases_follow_what_became_of_the_write(ready, make_user, actor_of, behind_the_back, events, done):
    row, actor = ready(), actor_of(make_user("admin", name="Ada Admin"))
    name = row.model.name
    _deliver_messages()
    ask = (actor, name, behind_the_back)
    _asks(*ask, "PATCH", "registered-models/update", description="Whom to call.", done=done)
    _asks(*ask, "POST", "registered-models/set-tag", key="team", value="care", done=done)
    _asks(*ask, "POST", "registered-models/alias", "modelversion", alias="challenger", version="1", done=done)
    _asks(*ask, "PATCH", "model-versions/update", "modelversion", version="1", description="The first.", done=done)
    _asks(*ask, "POST", "model-versions/set-tag", "modelversion", version="1", key="reviewed", value="yes", done=done)
    _deliver_messages()
    model = RegisteredModel.objects.get(name=name)
    version = model.versions.get()
    aliases = [(a.alias, a.set_by) for a in AliasRecord.objects.filter(model=model)]
    if not done:
        assert (model.description, model.tags, aliases) == ("", {}, []) and "reviewed" not in version.tags
        return
    assert (model.description, model.tags) == ("Whom to call.", {"team": "care"}) and aliases == [("challenger", "Ada Admin")]
    assert version.description == "The first." and version.tags["reviewed"] == "yes"


def test_a_rename_that_was_cut_short_keeps_the_model_out_of_strangers_sight(ready, make_user, actor_of, behind_the_back, events):
    from apps.registry.selectors.access import sight

    row, admin = ready(), actor_of(make_user("admin", name="Ada Admin"))
    was, name = row.model.name, f"new-{uuid.uuid4().hex[:8]}"
    stranger = actor_of(make_user("stakeholder"))
    _asks(admin, was, behind_the_back, "POST", "registered-models/rename", new_name=name)
    assert sight(stranger).models([name]) == set()
    _deliver_messages()
    model = RegisteredModel.objects.get(id=row.model_id)
    assert (model.name, model.renaming_to, model.gone_at) == (name, "", None)
    assert "Ada Admin" in events("registry.model.renamed", name)[0].facts["reason"]


def test_a_rename_that_never_reached_mlflow_is_forgotten(ready, make_user, actor_of, behind_the_back):
    row, admin = ready(), actor_of(make_user("admin"))
    _asks(admin, row.model.name, behind_the_back, "POST", "registered-models/rename", new_name="never", done=False)
    _deliver_messages()
    model = RegisteredModel.objects.get(id=row.model_id)
    assert (model.name, model.renaming_to) == (row.model.name, "")


def test_without_the_trail_nothing_is_asked_of_mlflow(caller, name, monkeypatch):
    def no_trail(*args, **kwargs):
        raise DatabaseError("the disk is full")

    sent = []
    monkeypatch.setattr(forward, "send", lambda *a, **k: sent.append(a))
    monkeypatch.setattr(audit, "record", no_trail)
    with pytest.raises(DatabaseError):
        caller("POST", f"{API}/registered-models/create", {"name": name})
    assert sent == []


def test_one_look_is_ordered_for_many_writes_and_a_gate_waits_for_it(ready, make_user, actor_of, system):
    from apps.core.errors import Conflict

    row, actor = ready(), actor_of(make_user("ml_engineer"))
    Message.objects.all().delete()
    for step in range(20):
        call(
            services.begin_write, actor=actor, route="POST /runs/log-metric", obj_type="run", obj_id=row.run_id, after={},
            key={"run_id": row.run_id}, sent={"run_id": row.run_id, "key": "late", "value": step, "timestamp": step},
        )  # fmt: skip
    assert Message.objects.filter(topic="registry.look").count() == 1
    with pytest.raises(Conflict, match="has just written"):
        services.freeze_version(actor=system, version_id=row.id)
    call(
        services.begin_write, actor=actor, route="POST /runs/update", obj_type="run", obj_id=row.run_id, after={}, key={"run_id": row.run_id},
        sent={"run_id": row.run_id, "status": "FINISHED", "end_time": 5},
    )  # fmt: skip
    assert Message.objects.filter(topic="registry.look").count() == 1
