"""Services on a connection that names nobody, as web's are: what changes nothing writes nothing, and what changes a row is told."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from apps.audit.models import Event, RowChange
from apps.core.clock import now
from apps.core.doors import call, call_repairable
from apps.core.errors import Conflict
from apps.notices import services as notices
from apps.notices.models import MailChoice
from apps.registry import services as registry
from apps.registry.models import Dataset, Experiment, GovernedDataset, ModelCard, ModelVersion, RegisteredModel
from apps.registry.rules import VersionFacts
from apps.usecases import services as usecases
from apps.usecases.models import Requirements
from tests.registry.world import make_version

pytestmark = pytest.mark.usefixtures("nobody")


@contextmanager
def by_hand() -> Iterator[None]:
    """A transaction that names itself: for what a test puts into tables without a service."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL gatehouse.actor = 'system:tests'")
        yield


@contextmanager
def nothing_written() -> Iterator[None]:
    """Neither a row of a governed table nor an event is written."""
    before = (RowChange.objects.count(), Event.objects.count())
    yield
    assert (RowChange.objects.count(), Event.objects.count()) == before


def last(action: str) -> Any:
    """What the newest event of an action says."""
    return Event.objects.filter(action=action).latest("id").facts


@pytest.fixture
def version() -> ModelVersion:
    """A version without a card, of a name nobody has used."""
    with by_hand():
        return make_version(f"model-{uuid.uuid4().hex[:12]}")


# --- what changes nothing -----------------------------------------------------------------------------


def test_requirements_that_say_nothing_new_write_nothing(make_user, actor_of):
    owner = actor_of(make_user("stakeholder"))
    usecase = usecases.create_usecase(actor=owner, name="Care outreach", problem="Calls reach the wrong members.", risk_tier="high")
    empty: list[dict[str, Any]] = [{}, {"peak_factor": 10.0}, {"latency_p99_ms": None, "projected_rps": None}]
    for fields in empty:
        with nothing_written():
            assert call(usecases.set_requirements, actor=owner, usecase_id=usecase.id, **fields).peak_factor == 10
    assert not Requirements.objects.filter(usecase=usecase).exists()
    call(usecases.set_requirements, actor=owner, usecase_id=usecase.id, latency_p99_ms=100)
    call(usecases.set_requirements, actor=owner, usecase_id=usecase.id, peak_factor=3)
    row = Requirements.objects.get(usecase=usecase)
    assert (row.latency_p99_ms, row.peak_factor) == (100, 3)
    assert last("usecases.requirements.set")["before"] == {"peak_factor": 10.0}


def test_an_untouched_dataset_page_writes_nothing(version, make_user, actor_of):
    elena = actor_of(make_user("ml_engineer"))
    with by_hand():
        data = Dataset.objects.create(name=f"visits-{uuid.uuid4().hex}", digest="d1")
        version.inputs.create(dataset=data, context="training")
    with nothing_written():
        row = call(registry.govern_dataset, actor=elena, dataset_id=data.id, revision=0, retention="", sensitivity="", owner_email="")
    assert row.revision == 0 and not GovernedDataset.objects.filter(name=data.name).exists()
    with pytest.raises(Conflict, match="somebody"):
        call(registry.govern_dataset, actor=elena, dataset_id=data.id, revision=2, retention="Two years")
    assert not GovernedDataset.objects.filter(name=data.name).exists()
    call(registry.govern_dataset, actor=elena, dataset_id=data.id, revision=0, retention="Two years")
    assert GovernedDataset.objects.get(name=data.name).revision == 1
    assert last("registry.dataset.governed")["after"] == {"retention": "Two years"}


def test_empty_texts_make_no_card(version, system):
    for fields in ({}, {"limitations": "", "ethical": ""}):
        with nothing_written():
            card = call(registry.save_card, actor=system, version_id=version.id, revision=0, **fields)
        assert (card.revision, card.limitations) == (0, "")
    assert not ModelCard.objects.filter(version=version).exists()
    call(registry.save_card, actor=system, version_id=version.id, revision=0, limitations="weak on weekends")
    assert ModelCard.objects.get(version=version).limitations == "weak on weekends"
    assert last("registry.card.saved")["after"] == {"limitations": "weak on weekends", "revision": 1}
    assert list(version.card_revisions.values_list("revision", flat=True).order_by("revision")) == [0, 1]


def test_who_wants_mail_anyway_need_not_be_written_down(make_user, actor_of):
    user = make_user("stakeholder")
    with nothing_written():
        call(notices.choose_mail, actor=actor_of(user), wanted=True)
    assert not MailChoice.objects.filter(person=user).exists()
    call(notices.choose_mail, actor=actor_of(user), wanted=False)
    with nothing_written():
        call(notices.choose_mail, actor=actor_of(user), wanted=False)
    call(notices.choose_mail, actor=actor_of(user), wanted=True)
    assert MailChoice.objects.get(person=user).wanted
    assert (last("notices.mail.chosen")["before"], last("notices.mail.chosen")["after"]) == ({"wanted": False}, {"wanted": True})


# --- what changes a row that is there -------------------------------------------------------------------


def told_of(object_id: str) -> list[tuple[str, Any, Any]]:
    """Events of one object, oldest first: action, before, after."""
    return [(e.action, e.facts.get("before"), e.facts.get("after")) for e in Event.objects.filter(object_id=object_id).order_by("id")]


def test_a_model_that_is_there_tells_what_its_making_changed(make_user, actor_of):
    """It was deleted in MLflow and is made again under its name."""
    user, name = make_user("ml_engineer"), f"model-{uuid.uuid4().hex[:12]}"
    with by_hand():
        row = RegisteredModel.objects.create(name=name, description="Whom to call.", tags={"team": "care"}, synced_at=now(), gone_at=now())
    for _ in range(2):
        call_repairable(registry.created_model, actor=actor_of(user), name=name, description="Whom to call now.")
    row.refresh_from_db()
    assert (row.gone_at, row.owner, row.author, row.tags) == (None, user, str(user), {"team": "care"})
    assert told_of(str(row.id)) == [
        (
            "registry.model.synced",
            {"description": "Whom to call.", "gone": True, "author": "", "owner": ""},
            {"description": "Whom to call now.", "gone": False, "author": str(user), "owner": user.email},
        )
    ]


def test_a_model_made_anew_is_told_of_once(make_user, actor_of):
    user, name = make_user("ml_engineer"), f"model-{uuid.uuid4().hex[:12]}"
    for _ in range(2):
        row = call_repairable(registry.created_model, actor=actor_of(user), name=name, description="Whom to call.")
    row.refresh_from_db()
    assert (row.description, row.owner, row.author) == ("Whom to call.", user, str(user)) and row.synced_at is not None
    assert [action for action, _, _ in told_of(str(row.id))] == ["registry.model.created"]


def test_an_experiment_of_another_name_is_told_of_once(make_user, actor_of):
    elena, number = actor_of(make_user("ml_engineer")), str(uuid.uuid4().int)[:18]
    for name in ("outreach", "outreach-2", "outreach-2"):
        call(registry.created_experiment, actor=elena, experiment_id=number, name=name)
    assert Experiment.objects.get(mlflow_id=number).name == "outreach-2"
    assert [action for action, _, _ in told_of(number)] == ["registry.experiment.created", "registry.experiment.renamed"]
    assert told_of(number)[1][1:] == ({"name": "outreach"}, {"name": "outreach-2"})


def test_a_reading_of_a_version_tells_what_it_changed_of_the_model(version, system):
    facts = VersionFacts(
        name=version.model.name, version=version.version, state="pending", model_description="Whom to call.", model_tags={"team": "care"}
    )
    for _ in range(2):
        call(registry.record_version, actor=system, facts=facts)
    version.model.refresh_from_db()
    assert (version.model.description, version.model.tags) == ("Whom to call.", {"team": "care"})
    assert told_of(str(version.model_id)) == [
        ("registry.model.synced", {"description": "", "tags": {}}, {"description": "Whom to call.", "tags": {"team": "care"}})
    ]
