"""Role x verb x object: what each person gets through one answer."""

import uuid
from datetime import timedelta

import pytest

from apps.accounts import services as accounts
from apps.approvals import services as approvals
from apps.core.clock import fixed, now
from apps.core.errors import NotAllowed, NotFound
from apps.registry.gateways import locate
from apps.registry.models import Experiment, ModelVersion, RegisteredModel
from apps.registry.selectors.access import sight, standing_to_model
from apps.registry.services import check_access
from apps.usecases import selectors as usecases_selectors
from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db
RUN, FREE_RUN = "a" * 32, "b" * 32
LOGGED = "m-" + "c" * 32
# `theirs` has come from experiment 7001, `loose` from 7002; 7003 has made no model and is Olga's.
OBJECTS = {
    "governed model": ("model", {"name": "theirs"}),
    "governed version": ("version", {"name": "theirs", "version": "1"}),
    "governed experiment": ("experiment", {"experiment_id": "7001"}),
    "governed run": ("run", {"run_id": RUN}),
    "governed logged model": ("loggedmodel", {"model_id": LOGGED}),
    "governed trace": ("trace", {"trace_id": "tr-1"}),
    "governed file": ("artifact", {"path": f"7001/{RUN}/artifacts/notes.txt"}),
    "loose model": ("model", {"name": "loose"}),
    "loose run": ("run", {"run_id": FREE_RUN}),
    "free experiment": ("experiment", {"experiment_id": "7003"}),
    "unmet model": ("model", {"name": "nobody-met-this"}),
}
READ, WORK = {"read"}, {"read", "log", "register"}
EDIT = WORK | {"edit", "alias"}
ALL = EDIT | {"delete", "admin"}
EVERYTHING = dict.fromkeys(OBJECTS, ALL)
THEIRS = [name for name in OBJECTS if name.startswith("governed")]
LOOSE = [name for name in OBJECTS if not name.startswith("governed")]
EXPECTED = {
    "admin": EVERYTHING,
    "auditor": dict.fromkeys(OBJECTS, READ),
    # In the use case with change access: may change what it uses.
    "engineer inside": dict.fromkeys(THEIRS, EDIT) | dict.fromkeys(LOOSE, EDIT) | {"free experiment": WORK},
    "engineer outside": dict.fromkeys(LOOSE, EDIT) | {"free experiment": WORK},
    "engineer granted": dict.fromkeys(THEIRS, EDIT | {"delete"}) | dict.fromkeys(LOOSE, EDIT) | {"free experiment": WORK},
    # Owns `theirs`, but is in none of its use cases.
    "engineer owning": dict.fromkeys(THEIRS, EDIT) | dict.fromkeys(LOOSE, EDIT) | {"free experiment": WORK},
    "approver inside": dict.fromkeys(OBJECTS, READ),
    "approver outside": dict.fromkeys(LOOSE, READ),
    "stakeholder inside": dict.fromkeys(THEIRS, READ) | {"free experiment": READ},
    "stakeholder outside": {},
}


@pytest.fixture
def world(make_user, actor_of, system):
    """Two models, three experiments, a use case and ten people; returns name of the person -> Actor."""
    people = {who: make_user(who.split()[0].replace("engineer", "ml_engineer").replace("approver", "approver:risk")) for who in EXPECTED}
    olga = people["stakeholder inside"]
    theirs = RegisteredModel.objects.create(name="theirs", owner=people["engineer owning"])
    loose = RegisteredModel.objects.create(name="loose")
    ModelVersion.objects.create(model=theirs, version=1, run_id=RUN, experiment_id="7001")
    ModelVersion.objects.create(model=loose, version=1, run_id=FREE_RUN, experiment_id="7002")
    Experiment.objects.create(mlflow_id="7003", name="free", owner=olga)
    usecase = usecases.create_usecase(actor=actor_of(olga), name="Care", problem="Calls reach the wrong ones.", risk_tier="high", sponsor=olga)
    for who, level in (("engineer inside", "change"), ("approver inside", "view")):
        usecases.give_access(actor=actor_of(olga), usecase_id=usecase.id, user=people[who], level=level)
    usecases.link_model(actor=system, usecase_id=usecase.id, model_name="theirs")
    for permission in ("view", "change", "delete"):
        accounts.grant(actor=system, user=people["engineer granted"], permission=f"registry.{permission}_registeredmodel", subject=theirs)
    for kind, key, experiment in (("run", RUN, "7001"), ("run", FREE_RUN, "7002"), ("loggedmodel", LOGGED, "7001"), ("trace", "tr-1", "7001")):
        locate.note(kind, key, experiment)
    return {who: actor_of(user) for who, user in people.items()}


@pytest.mark.parametrize("who", EXPECTED)
def test_each_person_may_do_to_each_thing_what_the_table_says(world, who):
    found: dict[str, set[str]] = {}
    hidden = set()
    for name, (obj_type, key) in OBJECTS.items():
        for verb in ALL:
            try:
                check_access(actor=world[who], verb=verb, obj_type=obj_type, key=key, sent={})
            except NotFound:
                hidden.add(name)
            except NotAllowed:
                pass
            else:
                found.setdefault(name, set()).add(verb)
    assert found == {name: verbs for name, verbs in EXPECTED[who].items() if verbs}
    assert hidden == set(OBJECTS) - set(EXPECTED[who])


@pytest.mark.parametrize("who", EXPECTED)
def test_lists_show_exactly_what_single_reads_show(world, who):
    seen = sight(world[who])
    names, ids = {"theirs", "loose", "nobody-met-this"}, {"7001", "7002", "7003"}
    assert seen.everything == (who in {"admin", "auditor"})

    def readable(obj_type, field, values):
        for value in values:
            try:
                check_access(actor=world[who], verb="read", obj_type=obj_type, key={field: value}, sent={})
            except NotFound:
                continue
            yield value

    assert seen.models(names) == set(readable("model", "name", names))
    assert seen.experiments(ids) == set(readable("experiment", "experiment_id", ids))
    assert {m.name for m in RegisteredModel.objects.visible_to(world[who])} == seen.models(names) - {"nobody-met-this"}
    assert {e.mlflow_id for e in Experiment.objects.visible_to(world[who])} == seen.experiments({"7003"})
    assert seen.models([]) == set() and seen.experiments([]) == set()


def test_lists_take_few_queries_however_many_names(world, django_assert_max_num_queries):
    seen = sight(world["engineer outside"])
    with django_assert_max_num_queries(3):
        seen.models([f"m{n}" for n in range(500)] + ["theirs"])
    with django_assert_max_num_queries(4):
        seen.experiments([str(n) for n in range(6900, 7400)])


def test_a_version_is_made_only_of_what_its_maker_sees(world):
    outside, inside = world["engineer outside"], world["engineer inside"]
    sources = (f"runs:/{RUN}/model", f"models:/{LOGGED}", "models:/theirs/1", f"mlflow-artifacts:/7001/{RUN}/artifacts/model")
    for source in sources:
        sent = {"name": "loose", "source": source}
        check_access(actor=inside, verb="register", obj_type="model", key={"name": "loose"}, sent=sent)
        with pytest.raises(NotFound, match="source"):
            check_access(actor=outside, verb="register", obj_type="model", key={"name": "loose"}, sent=sent)
    with pytest.raises(NotFound, match="source"):
        check_access(actor=outside, verb="register", obj_type="model", key={"name": "loose"}, sent={"runId": RUN, "source": "runs:/x"})


def test_the_roots_of_the_store_and_nameless_things_are_for_those_who_see_everything(world):
    for obj_type, key in (("artifact", {"path": ""}), ("artifact", {"path": "models"}), ("run", {})):
        check_access(actor=world["auditor"], verb="read", obj_type=obj_type, key=key, sent={})
        with pytest.raises(NotFound):
            check_access(actor=world["engineer inside"], verb="read", obj_type=obj_type, key=key, sent={})


def test_an_engineer_makes_experiments_and_models_and_others_do_not(world):
    for obj_type, key in (("experiment", {"experiment_name": "new one"}), ("model", {"name": "new one"})):
        check_access(actor=world["engineer outside"], verb="register", obj_type=obj_type, key=key, sent={})
        for who in ("approver outside", "auditor", "stakeholder inside"):
            with pytest.raises((NotAllowed, NotFound)):
                check_access(actor=world[who], verb="register", obj_type=obj_type, key=key, sent={})


def test_where_runs_and_logged_models_belong_is_asked_of_mlflow_once(endpoint, register, name, monkeypatch, make_user, actor_of):
    made = register(endpoint())
    locate.forget()
    engineer = actor_of(make_user("ml_engineer"))
    check_access(actor=engineer, verb="log", obj_type="run", key={"run_id": made.run_id}, sent={})
    assert locate.experiment_named(name) == made.root.split("/")[0] == locate.run(made.run_id)
    monkeypatch.setattr(locate, "call", lambda *a, **k: pytest.fail("asked again"))
    check_access(actor=engineer, verb="log", obj_type="run", key={"run_id": made.run_id}, sent={})


def test_a_run_that_mlflow_does_not_know_is_not_there(mlflow_is_up, make_user, actor_of):
    with pytest.raises(NotFound):
        check_access(actor=actor_of(make_user("admin")), verb="read", obj_type="run", key={"run_id": uuid.uuid4().hex}, sent={})


def test_a_delegate_sees_what_the_absent_signs_for_from_its_begin_to_its_end_and_no_longer(world, make_user, actor_of):
    olga = world["stakeholder inside"]
    risk, dora = make_user("approver:risk"), make_user("stakeholder")
    care = usecases_selectors.usecases(olga).get()
    usecases.open_to_functions(actor=olga, usecase_id=care.id, functions=["risk"])
    begins = now() + timedelta(days=1)
    approvals.delegate(
        actor=actor_of(risk), delegate=dora, function="risk", starts_at=begins, ends_at=begins + timedelta(days=5), reason="On leave."
    )
    seen = {}
    # The statement is composed by the first of them.
    for when, moment in (("before", now()), ("while", begins + timedelta(days=1)), ("after", begins + timedelta(days=6))):
        with fixed(moment):
            seen[when] = (sight(actor_of(dora)).models(["theirs"]), standing_to_model(actor_of(dora), "theirs").sees)
    assert seen == {"before": (set(), False), "while": ({"theirs"}, True), "after": (set(), False)}
