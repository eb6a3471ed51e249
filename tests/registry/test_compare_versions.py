"""Versions of one model side by side."""

import pytest

from apps.core.errors import Invalid, NotFound
from apps.registry import services
from apps.registry.rules import compare as rules
from apps.registry.selectors.compare import compare
from tests.registry.world import make_version

pytestmark = pytest.mark.django_db


def by_name(rows):
    return {r.name: r for r in rows}


def test_what_differs_comes_first_and_what_agrees_is_marked(system):
    make_version(number=1), make_version(number=2)
    found = compare(system, "care-outreach", ["1", "2"])
    assert [(r.name, r.values, r.same) for r in found.params] == [("depth", ("1", "2"), False), ("C", ("1.0", "1.0"), True)]
    assert by_name(found.requirements)["numpy"].values == ("==2.1.0", "==2.2.0")
    recall = by_name(found.metrics)["recall"]
    assert recall.differences[1] == pytest.approx(0.01) and recall.verdicts == ("", "")
    assert by_name(found.data)["training: visits-training"].same and by_name(found.signature)["in: age"].values == ("double", "double")


def test_a_card_is_compared_word_by_word(system):
    one, two = make_version(number=1), make_version(number=2)
    services.save_card(actor=system, version_id=one.id, limitations="weak on weekends")
    services.save_card(actor=system, version_id=two.id, limitations="weak on holidays")
    part = next(p for p in compare(system, "care-outreach", ["1", "2"]).card if p.field == "limitations")
    assert not part.same and part.others == [[("same", "weak on "), ("del", "weekends"), ("ins", "holidays")]]


@pytest.mark.parametrize("numbers", [["1"], ["1", "1"], ["1", "2", "3", "4", "5"], ["1", "x"], []])
def test_two_to_four_different_numbers(system, numbers):
    make_version()
    with pytest.raises(Invalid, match="versions: name 2 to 4"):
        compare(system, "care-outreach", numbers)


def test_a_version_that_is_not_there_or_not_to_be_seen_is_not_found(system, make_user, actor_of, api):
    make_version(number=1), make_version(number=2)
    with pytest.raises(NotFound):
        compare(system, "care-outreach", ["1", "9"])
    stranger = make_user("stakeholder")
    with pytest.raises(NotFound):
        compare(actor_of(stranger), "care-outreach", ["1", "2"])
    assert api(stranger).get("/api/v1/models/care-outreach/compare/?versions=1,2").status_code == 404


def test_the_api_tells_the_same(api, make_user):
    make_version(number=1), make_version(number=2)
    answer = api(make_user("ml_engineer")).get("/api/v1/models/care-outreach/compare/?versions=2,1")
    assert answer.status_code == 200 and [v["version"] for v in answer.json()["versions"]] == [2, 1]
    assert next(r for r in answer.json()["metrics"] if r["name"] == "recall")["differences"][1] == pytest.approx(-0.01)
    assert api(make_user("ml_engineer")).get("/api/v1/models/care-outreach/compare/?versions=1").json()["errors"] == {
        "versions": ["Not 2 to 4 different version numbers."]
    }


def test_better_and_worse_only_where_somebody_said_which_way():
    def figure(value, better="", low=None, high=None):
        return {"value": value, "low": low, "high": high, "better": better}

    rows = rules.figure_rows(
        [{"mae": figure(2.0, "lower", 1.8, 2.2), "x": figure(1)}, {"mae": figure(1.5, "lower", 1.4, 1.6), "x": figure(2)}, {}]
    )
    mae, x = rows
    assert mae.verdicts == ("", "better", "") and mae.clear == (False, True, False) and mae.differences == (0.0, -0.5, None)
    assert x.verdicts == ("", "", "") and not x.same
    disagreeing = rules.figure_rows([{"m": figure(1, "lower")}, {"m": figure(2, "higher")}])[0]
    assert disagreeing.verdicts == ("", "")


@pytest.mark.parametrize(
    ("text", "pins"),
    [
        ("numpy==2.4.0\n# c\nScikit_Learn >= 1.9 # why\n-r more.txt", {"numpy": "==2.4.0", "scikit-learn": ">= 1.9"}),
        ("torch[gpu]==2.0; python_version>'3'", {"torch": "==2.0; python_version>'3'"}),
        ("pandas\n\n", {"pandas": "any"}),
    ],
)
def test_requirements_by_name(text, pins):
    assert rules.requirement_pins(text) == pins
