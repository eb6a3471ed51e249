"""Who may do what, as a table."""

import pytest

from apps.core.actor import Actor
from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.registry.rules import access
from apps.registry.rules.access import Standing, check_right


def person(*roles: str) -> Actor:
    return Actor(kind="user", id="user:1", label="somebody", user_id="1", roles=frozenset(roles))


ENGINEER, APPROVER, AUDITOR, ADMIN, STAKEHOLDER = (person(r) for r in ("ml_engineer", "approver", "auditor", "admin", "stakeholder"))
SEEN, OWNER = Standing(), Standing(owns=True)
USECASE, CHANGE, DELETE, FREE = Standing(changes_usecase=True), Standing(granted_change=True), Standing(granted_delete=True), Standing(unclaimed=True)
HIDDEN = Standing(sees=False)
ALL = {"read", "log", "register", "edit", "alias", "delete", "admin"}
WORK = {"read", "log", "register"}
TABLE = [
    (ENGINEER, SEEN, WORK),
    (ENGINEER, OWNER, WORK | {"edit", "alias"}),
    (ENGINEER, USECASE, WORK | {"edit", "alias"}),
    (ENGINEER, CHANGE, WORK | {"edit", "alias"}),
    (ENGINEER, FREE, WORK | {"edit", "alias"}),
    (ENGINEER, DELETE, WORK | {"delete"}),
    (APPROVER, OWNER, {"read"}),
    (APPROVER, FREE, {"read"}),
    (STAKEHOLDER, USECASE, {"read"}),
    (STAKEHOLDER, DELETE, {"read"}),
    (AUDITOR, SEEN, {"read"}),
    (AUDITOR, OWNER, {"read"}),
    (ADMIN, SEEN, ALL),
    (Actor.system("tests"), SEEN, ALL),
    (Actor.agent("local"), SEEN, {"read"}),
]


@pytest.mark.parametrize(("actor", "standing", "allowed"), TABLE)
@pytest.mark.parametrize("verb", access.VERBS)
def test_rights_by_role_and_standing(actor, standing, allowed, verb):
    if verb in allowed:
        check_right(actor, verb, standing, "model x")
    else:
        with pytest.raises(NotAllowed):
            check_right(actor, verb, standing, "model x")


@pytest.mark.parametrize("actor", [ENGINEER, ADMIN, STAKEHOLDER])
@pytest.mark.parametrize("verb", access.VERBS)
def test_what_is_out_of_sight_is_not_there_whatever_is_asked(actor, verb):
    with pytest.raises(NotFound, match="no such model"):
        check_right(actor, verb, HIDDEN, "model x")


def test_an_unknown_verb_is_refused():
    with pytest.raises(Invalid, match="read, log"):
        check_right(ADMIN, "own", SEEN, "model x")


def test_two_objects_need_the_right_to_both():
    assert Standing(owns=True, unclaimed=True) & Standing(owns=True) == Standing(owns=True)
    assert not (Standing() & HIDDEN).sees


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("runs:/abc/model", {"run_id": "abc"}),
        ("runs:///abc", {"run_id": "abc"}),
        ("models:/m-" + "0" * 32, {"model_id": "m-" + "0" * 32}),
        ("models:/churn/3", {"name": "churn"}),
        ("models:/churn@champion", {"name": "churn"}),
        ("mlflow-artifacts:/7/abc/artifacts/model", {"path": "7/abc/artifacts/model"}),
        ("s3://bucket/x", {}),
    ],
)
def test_where_a_source_leads(source, found):
    assert access.named_in(source) == found


@pytest.mark.parametrize(("path", "found"), [("7/abc/artifacts/x", "7"), ("/7/x", "7"), ("models/x", ""), ("", ""), ("7x/y", "")])
def test_the_experiment_of_a_path(path, found):
    assert access.experiment_of_path(path) == found


def test_camel_case_means_the_same_field_and_every_tag_is_found():
    sent = access.plain_names({"newName": "x", "archiveExistingVersions": True, "tags": [{"key": "a", "value": "1"}, {"key": "b"}], "key": "c"})
    assert sent["new_name"] == "x" and sent["archive_existing_versions"] is True
    assert list(access.tag_keys(sent)) == ["c", "a", "b"]
    assert list(access.tag_keys({"tags": {"d": "1"}, "trace_info": {"tags": {"e": "1"}}})) == ["d", "e"]
