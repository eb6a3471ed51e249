"""Charts: what lies close together is told apart, and what happened stands where there is room."""

from datetime import UTC, datetime, timedelta

from apps.core import figures

T0 = datetime(2026, 1, 5, tzinfo=UTC)
WEEKS = [(T0 + timedelta(weeks=i), 500.0 + i) for i in range(12)]
MINUTE = [(WEEKS[-1][0] + timedelta(seconds=i), 400.0 + i) for i in range(4)]


def drawn(series, events=()):
    return figures.kpi(series, unit="EUR", baseline=None, target=None, floor=None, events=events)


def test_weeks_are_drawn_in_time():
    figure = drawn([("without a model", WEEKS, None)])
    assert figure["data"][0]["x"] == [m.isoformat() for m, _ in WEEKS]
    assert "%-d %b" in figure["layout"]["xaxis"]["tickformatstops"][1]["value"]


def test_points_of_one_moment_get_a_step_each_and_say_when_they_were():
    figure = drawn([("without a model", WEEKS, None), ("outreach/1", MINUTE[1:], None)])
    places = [x for line in figure["data"] for x in line["x"]]
    assert places == list(range(15))
    assert figure["data"][1]["customdata"][0] == "23 Mar 2026, 00:00" and "customdata" in figure["data"][1]["hovertemplate"]
    assert figure["layout"]["xaxis"]["title"]["text"] == "one step a measured period"


def test_what_happened_between_two_steps_stands_between_them_and_neighbours_share_a_label():
    between = WEEKS[2][0] + timedelta(days=3, hours=12)
    events = [(between, "pilot"), (MINUTE[1][0], "v1 live"), (MINUTE[2][0], "incident"), (MINUTE[2][0] + timedelta(days=3), "later")]
    layout = drawn([("without a model", WEEKS, None), ("outreach/1", MINUTE[1:], None)], events)["layout"]
    labels = [(a["x"], a["text"], a["xanchor"]) for a in layout["annotations"] if a.get("name") == "event"]
    assert labels == [(2.5, "pilot", "left"), (12, "v1 live, 1 more", "right"), (14.5, "later", "right")]


def test_a_few_points_have_a_bar_each_and_many_a_band():
    ends = [(v - 10, v + 10) for _, v in WEEKS]
    many, few = drawn([("a", WEEKS, ends)])["data"], drawn([("a", WEEKS[:2], ends[:2])])["data"]
    assert many[0]["fill"] == "toself" and "error_y" not in many[1]
    assert len(few) == 1 and few[0]["error_y"]["array"] == [10.0, 10.0]


def test_the_legend_stands_below_the_axis_and_only_where_there_is_more_than_one_line():
    one, two = drawn([("a", WEEKS, None)])["layout"], drawn([("a", WEEKS, None), ("b", WEEKS, None)])["layout"]
    assert not one["showlegend"] and two["showlegend"] and two["legend"]["y"] < 0
