"""What an event changed, as people read it."""

import pytest

from apps.dashboard.diffs import changes


def told(before, after):
    return [(c.name, c.before, c.after) for c in changes({"before": before, "after": after})]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ({"tier": "low"}, {"tier": "high"}, [("tier", "low", "high")]),
        (None, {"name": "x", "open": True}, [("name", "", "x"), ("open", "", "yes")]),
        ({"gone": 1}, None, [("gone", "1", "")]),
        ({"steps": [10, 100]}, {"steps": [50, 100]}, [("steps", "10, 100", "50, 100")]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [("a, c", "2", "3")]),
        ({"routes": [{"v": "m/1", "w": 90}]}, {"routes": [{"v": "m/1", "w": 0}]}, [("routes 1, w", "90", "0")]),
        ({"a": {"b": {"c": {"d": 1}}}}, {"a": {}}, [("a, b, c", '{\n "d": 1\n}', ""), ("a", "", "{}")]),
        ({"routes": []}, {"routes": [{"w": 1}]}, [("routes 1, w", "", "1")]),
        (None, None, []),
    ],
)
def test_fields_are_told_one_by_one_and_what_stayed_in_a_nested_one_is_left_out(before, after, says):
    assert told(before, after) == says


def test_of_a_long_text_only_the_words_that_changed_are_marked():
    (change,) = changes(
        {
            "before": {"problem": "Calls reach the wrong members of the plan."},
            "after": {"problem": "Calls reach the right members of the plan."},
        }
    )
    assert [p for p in change.pieces if p[0] != "same"] == [("out", "wrong"), ("in", "right")]
    assert "".join(text for how, text in change.pieces if how != "out") == change.after
    assert "".join(text for how, text in change.pieces if how != "in") == change.before


def test_a_text_written_anew_is_shown_whole():
    (change,) = changes(
        {
            "before": {"t": "one two three four five six seven eight"},
            "after": {"t": "quite different words stand here now instead, all new"},
        }
    )
    assert change.pieces == []
