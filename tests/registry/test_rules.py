"""The registry's pure rules."""

import pytest

from apps.core.actor import Actor
from apps.core.errors import Invalid, NotAllowed
from apps.registry import rules


@pytest.mark.parametrize("alias", ["champion", "Champion", "CHAMPION", " champion ", "ｃｈａｍｐｉｏｎ", "Production", "ᴾroduction"])
def test_every_way_to_write_a_protected_alias_is_protected(alias):
    assert rules.protecting_environment(alias) == "production"


@pytest.mark.parametrize("alias", ["challenger", "champion2", "champ", ""])
def test_other_aliases_are_free(alias):
    assert rules.protecting_environment(alias) == ""


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("mlflow-artifacts:/1/abc/artifacts/model", "1/abc/artifacts/model"),
        ("mlflow-artifacts:/1/abc/artifacts/model/", "1/abc/artifacts/model"),
        ("mlflow-artifacts://elsewhere/1/abc", ""),
        ("mlflow-artifacts:/1/../2", ""),
        ("mlflow-artifacts:/1/%2e%2e/2", ""),
        ("mlflow-artifacts:/1//2", ""),
        ("mlflow-artifacts:/", ""),
        ("s3://bucket/model", ""),
        ("file:///etc", ""),
    ],
)
def test_only_a_plain_folder_of_the_store_is_an_artifact_root(uri, root):
    assert rules.artifact_root_of(uri) == root


@pytest.mark.parametrize("source", ["file:///etc/passwd", "/etc", "s3://bucket/x", "http://host/x", "mlflow-artifacts://host/1/x", ""])
def test_a_source_outside_the_store_is_refused(source):
    with pytest.raises(Invalid, match="source"):
        rules.check_source(source)


def test_the_folders_above_a_path_include_the_path():
    assert rules.folders_above("a/b/c") == ["a/b/c", "a/b", "a"]


def test_a_card_of_one_word_answers_is_not_complete():
    card = dict.fromkeys(rules.CARD_FIELDS, "yes")
    assert rules.missing_in_card(card) == [n for n in rules.CARD_NEEDED if n != "owner_contact"]
    full = dict.fromkeys(rules.CARD_FIELDS, "as agreed with care managers")
    state = rules.completeness(full)
    assert (state.filled, state.total, state.missing) == (7, 7, ())


def test_a_misspelt_card_field_is_named():
    with pytest.raises(Invalid, match="limitation: not a field"):
        rules.check_card({"limitation": "x"})


def test_requirements_without_one_version_are_named():
    assert rules.unpinned("numpy==2.4.0\n# note\nscikit-learn>=1.5\n-r other.txt\npandas\n") == ["scikit-learn>=1.5", "pandas"]


def test_feature_names_keep_the_order_of_the_signature():
    assert rules.feature_names({"inputs": [{"name": "b"}, {"name": "a"}]}) == ["b", "a"]
    assert rules.feature_names({"inputs": [{"name": "", "type": "float64"}]}) == []
    assert rules.feature_names({}) == []


def _person(role: str, scope: str = "mlflow") -> Actor:
    return Actor(kind="token", id="token:1", label="x", roles=frozenset({role}), scopes=frozenset({scope}))


@pytest.mark.parametrize(
    ("role", "reads", "writes"),
    [
        ("ml_engineer", True, True),
        ("admin", True, True),
        ("auditor", True, False),
        ("approver", True, False),
        ("stakeholder", False, False),
    ],
)
def test_roles_decide_who_reads_and_who_writes(role, reads, writes):
    for check, may in ((rules.check_may_read_mlflow, reads), (rules.check_may_write_mlflow, writes)):
        if may:
            check(_person(role))
        else:
            with pytest.raises(NotAllowed):
                check(_person(role))


def test_a_token_without_the_scope_gets_nowhere():
    with pytest.raises(NotAllowed, match="scope 'mlflow'"):
        rules.check_may_read_mlflow(_person("admin", scope="write"))


@pytest.mark.parametrize(
    ("tags", "registered_by", "who"),
    [
        ({}, "", ""),
        ({}, "elena@example.org", "elena@example.org"),
        ({"mlflow.user": "root"}, "elena@example.org", "elena@example.org"),
        ({"mlflow.user": "kim"}, "", "kim"),
        ({"mlflow.user": "kim", "imported.from": "http://old"}, "elena@example.org", "kim"),
        ({"imported.from": "http://old"}, "elena@example.org", "elena@example.org"),
    ],
)
def test_a_version_was_logged_by_whoever_registered_it_and_an_import_by_whom_its_run_names(tags, registered_by, who):
    assert rules.cards.logged_by(tags, registered_by=registered_by) == who
