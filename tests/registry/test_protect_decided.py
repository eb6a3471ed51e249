"""What amounts to saying "this is in production", or to taking away what a decision stands on, needs a live decision."""

import uuid

import pytest

from apps.core.errors import NoLiveDecision, NotAllowed
from apps.decisions import services as deciding
from apps.registry.gateways import locate
from apps.registry.models import AliasRecord, ModelVersion, RegisteredModel
from apps.registry.services import check_access, freeze_version
from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db
RUN, OTHER_RUN = "d" * 32, "e" * 32
LOGGED = "m-" + "f" * 32
ROOT = f"8001/models/{LOGGED}/artifacts"


@pytest.fixture
def admin(make_user, actor_of):
    """Whoever may do all that governance allows."""
    return actor_of(make_user("admin"))


@pytest.fixture
def version(db):
    model = RegisteredModel.objects.create(name="care")
    for kind, key in (("run", RUN), ("run", OTHER_RUN), ("loggedmodel", LOGGED)):
        locate.note(kind, key, "8001")
    ModelVersion.objects.create(model=model, version=2, run_id=OTHER_RUN, experiment_id="8001")
    return ModelVersion.objects.create(
        model=model, version=1, status="ready", artifact_digest="sha256:" + uuid.uuid4().hex * 2, artifact_root=ROOT, run_id=RUN,
        experiment_id="8001", source=f"models:/{LOGGED}", params={"depth": "3"},
    )  # fmt: skip


@pytest.fixture
def ask(admin):
    """ask("alias", "version", {...}, stage=...) -> the refusal, or "" when it is allowed."""

    def make(verb, obj_type, named, /, **sent):
        try:
            check_access(actor=admin, verb=verb, obj_type=obj_type, key=named, sent={**named, **sent})
        except NoLiveDecision as error:
            return error.detail
        return ""

    return make


V1, V2, MODEL = {"name": "care", "version": "1"}, {"name": "care", "version": "2"}, {"name": "care"}
# Everything that amounts to a protected alias: verb, object, key, what else is sent.
CLAIMS = {
    "alias": ("alias", "version", V1 | {"alias": "champion"}, {}),
    "alias in capitals": ("alias", "version", V1 | {"alias": "CHAMPION"}, {}),
    "alias in wide letters": ("alias", "model", MODEL | {"alias": "ｃｈａｍｐｉｏｎ", "version": 1}, {}),
    "alias with spaces": ("alias", "version", V1 | {"alias": " production "}, {}),
    "stage": ("alias", "version", V1, {"stage": "Production"}),
    "stage in capitals": ("alias", "version", V1, {"stage": "PRODUCTION", "archiveExistingVersions": True}),
    "evidence tag": ("edit", "version", V1, {"key": "gatehouse.approved", "value": "true"}),
    "evidence tag in capitals": ("edit", "version", V1, {"key": "GateHouse.Approved", "value": "true"}),
}
# What a gate or decision stands on.
FROZEN = {
    "rename": ("edit", "model", MODEL, {"newName": "other"}),
    "delete model": ("delete", "model", MODEL, {}),
    "delete version": ("delete", "version", V1, {}),
    "tag of the version": ("edit", "version", V1, {"key": "team", "value": "x"}),
    "delete tag": ("edit", "version", V1, {"key": "team"}),
    "delete run": ("delete", "run", {"run_id": RUN}, {}),
    "metric of the run": ("log", "run", {"run_id": RUN}, {"key": "recall", "value": 1}),
    "name of the run": ("log", "run", {"run_id": RUN}, {"run_name": "x"}),
    "delete experiment": ("delete", "experiment", {"experiment_id": "8001"}, {}),
    "delete logged model": ("delete", "loggedmodel", {"model_id": LOGGED}, {}),
    "params of the logged model": ("log", "loggedmodel", {"model_id": LOGGED}, {"params": [{"key": "a", "value": "b"}]}),
    "overwrite a file": ("log", "artifact", {"path": f"{ROOT}/MLmodel"}, {}),
    "delete a file": ("delete", "artifact", {"path": f"{ROOT}/data/weights.bin"}, {}),
    "delete the folder above": ("delete", "artifact", {"path": f"8001/models/{LOGGED}"}, {}),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_a_claim_is_refused_until_a_live_decision_makes_it_true(ask, version, decide, system, what):
    verb, obj_type, key, sent = CLAIMS[what]
    refused = ask(verb, obj_type, key, **sent)
    assert "/gates/new/" in refused and str(version.id) in refused, refused
    pilot = decide(version, "pilot")
    if "tag" not in what:
        assert "/gates/new/" in ask(verb, obj_type, key, **sent), "a decision for another environment is none"
    decision = decide(version)
    assert ask(verb, obj_type, key, **sent) == ""
    for each in (decision, pilot):
        deciding.revoke(actor=system, decision_id=each.id, reason="a leak was found")
    assert "/gates/new/" in ask(verb, obj_type, key, **sent)


@pytest.mark.parametrize("what", FROZEN)
@pytest.mark.parametrize("by", ["gate", "decision"])
def test_what_a_gate_or_decision_stands_on_is_not_changed_even_by_an_administrator(ask, version, decide, system, what, by):
    verb, obj_type, key, sent = FROZEN[what]
    if obj_type != "artifact":
        assert ask(verb, obj_type, key, **sent) == ""
    if by == "gate":
        freeze_version(actor=system, version_id=version.id)
    else:
        decide(version)
    refused = ask(verb, obj_type, key, **sent)
    assert "care/1" in refused and "/gates/new/" in refused


def test_what_is_beside_it_stays_free(ask, version, decide):
    decide(version)
    assert ask("log", "run", {"run_id": OTHER_RUN}, key="recall", value=1) == ""
    assert ask("delete", "version", V2) == "" and ask("edit", "version", V1, description="Calls.") == ""
    assert ask("alias", "version", V1 | {"alias": "challenger"}) == "" and ask("edit", "model", MODEL, key="team", value="x") == ""
    assert ask("log", "artifact", {"path": f"8001/{OTHER_RUN}/artifacts/notes.txt"}) == ""
    # The client says that the run has ended: nothing stands on that.
    assert ask("log", "run", {"run_id": RUN}, status="FINISHED", end_time=2) == ""


def test_files_in_the_folder_of_its_run_stay_as_they_were_decided_on(ask, version, decide):
    notes = {"path": f"8001/{RUN}/artifacts/notes.txt"}
    assert ask("log", "artifact", notes) == ""
    decide(version)
    for verb in ("log", "delete"):
        assert "folder of this run cannot be" in ask(verb, "artifact", notes)
    assert ask("log", "artifact", {"path": f"8001/models/m-{'a' * 32}/artifacts/notes.txt"}) == ""


def test_the_gate_to_request_is_named_with_use_case_and_version(ask, version, make_user, actor_of, admin, settings, client):
    settings.BASE_URL = "https://portal.example.org"
    refused = ask("alias", "version", V1 | {"alias": "champion"})
    assert "Link the model to its use case" in refused
    olga = make_user("stakeholder")
    usecase = usecases.create_usecase(actor=actor_of(olga), name="Care desk", problem="Calls reach the wrong ones.", risk_tier="high")
    usecases.link_model(actor=admin, usecase_id=usecase.id, model_name="care")
    refused = ask("alias", "version", V1 | {"alias": "champion"})
    address = f"https://portal.example.org/gates/new/?usecase={usecase.slug}&version={version.id}"
    assert f"request the gate at {address}".lower() in refused.lower()
    assert "No gate has been passed for this artifact in production" in refused
    client.force_login(olga)
    page = client.get(address.removeprefix("https://portal.example.org"))
    assert page.status_code == 200 and str(version.id) in page.content.decode()


def test_a_protected_alias_goes_only_when_nothing_live_stands_behind_it(ask, version, decide, system):
    decision = decide(version)
    from apps.core.clock import now

    AliasRecord.objects.create(model=version.model, alias="champion", version=version, decision_id=decision.id, set_at=now())
    key = MODEL | {"alias": "champion"}
    assert "take its place" in ask("alias", "model", key) and "alias 'champion'" in ask("delete", "version", V1) + ask(
        "alias", "model", key
    )
    for stage in ("Archived", "None", "Staging"):
        assert "/gates/new/" in ask("alias", "version", V1, stage=stage)
    deciding.revoke(actor=system, decision_id=decision.id, reason="a leak was found")
    assert ask("alias", "model", key) == "" and ask("alias", "version", V1, stage="Archived") == ""


def test_archiving_the_others_is_refused_where_one_of_them_is_in_use(ask, version, decide):
    decide(version)
    newer = ModelVersion.objects.create(model=version.model, version=3, status="ready", artifact_digest="sha256:" + uuid.uuid4().hex * 2)
    decide(newer)
    key = {"name": "care", "version": "3"}
    assert "cannot be archived" in ask("alias", "version", key, stage="Production", archive_existing_versions="true")
    assert ask("alias", "version", key, stage="Production", archive_existing_versions=False) == ""


def test_a_model_with_a_protected_alias_keeps_its_name(ask, version):
    from apps.core.clock import now

    other = ModelVersion.objects.get(model=version.model, version=2)
    AliasRecord.objects.create(model=version.model, alias="Production", version=other, set_at=now())
    assert "'Production'" in ask("edit", "model", MODEL, new_name="x") and "'Production'" in ask("delete", "model", MODEL)
    assert "'Production'" in ask("delete", "version", V2)


def test_a_name_that_the_portal_keeps_versions_of_is_not_taken_by_a_rename(version, admin):
    RegisteredModel.objects.create(name="spare")
    with pytest.raises(NotAllowed, match="keeps versions"):
        check_access(actor=admin, verb="edit", obj_type="model", key={"name": "spare"}, sent={"new_name": "care"})


@pytest.mark.parametrize(
    ("obj_type", "key", "sent"),
    [
        ("run", {"run_id": OTHER_RUN}, {"tags": [{"key": "gatehouse.signed", "value": "x"}]}),
        ("model", MODEL, {"key": "gatehouse.signed", "value": "x"}),
        ("experiment", {"experiment_id": "8001"}, {"key": "gatehouse.signed"}),
        ("none", {}, {"name": "new", "tags": [{"key": "gatehouse.signed", "value": "x"}]}),
    ],
)
def test_evidence_tags_elsewhere_are_nobodys(ask, version, decide, obj_type, key, sent):
    decide(version)
    assert "gatehouse.signed" in ask("log", obj_type, key, **sent)


def test_aliases_and_prefix_come_from_the_settings(ask, version, settings):
    settings.PROTECTED_ALIASES, settings.EVIDENCE_TAG_PREFIX = {"Live": "production", "trial": "pilot"}, "proof/"
    assert ask("alias", "version", V1 | {"alias": "champion"}) == "" and ask("edit", "version", V1, key="gatehouse.x") == ""
    assert ask("alias", "version", V1 | {"alias": "LIVE"}) and ask("edit", "version", V1, key="Proof/x")
    assert "pilot" in ask("alias", "version", V1 | {"alias": "trial"})


def test_a_prompt_gets_no_protected_alias_for_nothing_can_be_decided_of_it(ask, version):
    prompt = RegisteredModel.objects.create(name="ask-nurse", tags={"mlflow.prompt.is_prompt": "true"})
    ModelVersion.objects.create(model=prompt, version=1, status="failed")
    key = {"name": "ask-nurse", "version": "1"}
    assert "failed, not ready" in ask("alias", "version", key | {"alias": "production"})
    assert "knows no such version" in ask("alias", "version", key | {"version": "7", "alias": "production"})
    assert ask("alias", "version", key | {"alias": "draft"}) == ""
