"""Charts as plain Plotly figures. Pure: data in, a dict out. Colours are names of the theme (`@brand`), resolved in the browser."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from apps.core.templatetags.gatehouse import measured

Figure = dict[str, Any]
Point = tuple[datetime, float]
# Points of a series that are drawn with a bar each instead of a band; neighbours closer than this part of the axis get steps.
FEW, CLOSEST = 3, 80


def _layout(*, unit: str, height: int = 300, **extra: Any) -> dict[str, Any]:
    axis = {"gridcolor": "@line", "linecolor": "@line-2", "zeroline": False, "automargin": True, "tickfont": {"color": "@ink-2"}}
    return {
        "height": height,
        "margin": {"l": 48, "r": 16, "t": 24, "b": 40},
        "showlegend": False,
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "@sheet", "bordercolor": "@line-2", "font": {"color": "@ink"}},
        "xaxis": {**axis, "showgrid": False},
        "yaxis": {**axis, "title": {"text": unit, "font": {"color": "@ink-2"}}, "rangemode": "normal"},
        "shapes": [],
        "annotations": [],
        **extra,
    }


def _rule(layout: dict[str, Any], value: float, label: str, colour: str, dash: str, *, right: bool = False) -> None:
    """A level across the chart; its label at the left, or at the right where two levels may lie close to each other."""
    layout["shapes"].append(
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": {"color": colour, "dash": dash, "width": 2}}
    )
    layout["annotations"].append(
        {"xref": "paper", "x": int(right), "xanchor": "right" if right else "left", "y": value, "yanchor": "top" if right else "bottom", "text": label, "showarrow": False, "bgcolor": "@sheet/0.6", "font": {"color": colour, "size": 11}}
    )


def kpi(
    series: Sequence[tuple[str, Sequence[Point], Sequence[tuple[float, float]] | None]],
    *,
    unit: str,
    baseline: tuple[float, float] | None,
    target: float | None,
    floor: float | None,
    events: Sequence[tuple[datetime, str]] = (),
) -> Figure:
    """A KPI over time.

    series: (name, points, 95% interval per point or None) per model version; baseline: (value, half width of its band);
    events: what happened when (gates, deployments, incidents), drawn on the same axis.
    """
    colours = ["@brand", "@warn", "@ink-2", "@good"]
    layout, data = _layout(unit="" if unit == "share" else unit, height=340), []
    axis = _Axis([moment for _, points, _ in series for moment, _ in points])
    layout["xaxis"] |= axis.layout()
    if unit == "share":
        layout["yaxis"]["tickformat"] = ".0%"
    if baseline:
        value, half = baseline
        layout["shapes"].append(
            {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": value - half, "y1": value + half, "fillcolor": "@ink-3/0.14", "line": {"width": 0}, "layer": "below"}
        )
        _rule(layout, value, f"baseline {measured(value, unit)}" + (f" ± {measured(half, unit)}" if half else ""), "@ink-2", "solid", right=True)
    if target is not None:
        _rule(layout, target, f"target {measured(target, unit)}", "@brand", "dot")
    if floor is not None:
        _rule(layout, floor, f"floor {measured(floor, unit)}", "@bad", "dash")
    for index, (name, points, intervals) in enumerate(series):
        colour = colours[index % len(colours)]
        x = [axis.at(p[0]) for p in points]
        told = {"customdata": [f"{p[0]:%-d %b %Y, %H:%M}" for p in points], "hovertemplate": "%{y} (%{customdata})"} if axis.steps else {}
        bars: dict[str, Any] = {}
        if intervals and len(intervals) == len(points) <= FEW:
            highs, lows = [hi - p[1] for p, (_, hi) in zip(points, intervals, strict=True)], [p[1] - lo for p, (lo, _) in zip(points, intervals, strict=True)]
            bars = {"error_y": {"type": "data", "symmetric": False, "array": highs, "arrayminus": lows, "color": colour, "thickness": 1.5, "width": 4}}
        elif intervals and len(intervals) == len(points):
            data.append(
                {
                    "type": "scatter", "x": x + x[::-1], "y": [hi for _, hi in intervals] + [lo for lo, _ in intervals][::-1], "fill": "toself",
                    "fillcolor": f"{colour}/0.14", "line": {"width": 0}, "hoverinfo": "skip", "mode": "lines", "showlegend": False,
                }
            )  # fmt: skip
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": name, "x": x, "y": [p[1] for p in points],
                "line": {"color": colour, "width": 3}, "marker": {"size": 7, "color": colour, "symbol": ["circle", "square", "diamond", "x"][index % 4]},
                **bars, **told,
            }
        )  # fmt: skip
    layout["showlegend"] = len(series) > 1
    # Below the axis, where it covers neither lines nor what happened.
    layout["legend"] = {"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0}
    layout["margin"]["b"] = 84 if len(series) > 1 else 48
    for moment, words in axis.grouped(events):
        place = axis.at(moment)
        layout["shapes"].append({"type": "line", "x0": place, "x1": place, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": "@ink-3", "width": 1}})
        layout["annotations"].append(
            {"x": place, "xanchor": "right" if axis.share(moment) > 0.5 else "left", "yref": "paper", "y": 1, "yanchor": "bottom", "text": words, "showarrow": False, "font": {"color": "@ink-2", "size": 11}, "textangle": 0, "name": "event"}
        )
    return {"data": data, "layout": layout}


class _Axis:
    """Time across the chart. Where some measured periods lie so close together that they would be one dot, each gets a step of its own.

    With steps, a place is a number: the first measured moment is 0, the next 1; what happened between two stands between them.
    """

    def __init__(self, moments: Sequence[datetime]) -> None:
        self.moments = sorted(set(moments))
        span = (self.moments[-1] - self.moments[0]).total_seconds() if self.moments else 0.0
        gaps = [(b - a).total_seconds() for a, b in pairwise(self.moments)]
        self.steps = len(gaps) > 2 and min(gaps) < span / CLOSEST

    def step(self, moment: datetime) -> float:
        """Its place in steps; before the first and after the last measured moment half a step beside it."""
        index = bisect_left(self.moments, moment)
        if index == len(self.moments):
            return index - 0.5
        if index == 0 or self.moments[index] == moment:
            return index - (0.5 if self.moments[index] != moment else 0.0)
        before, after = self.moments[index - 1], self.moments[index]
        return index - 1 + (moment - before) / (after - before)

    def at(self, moment: datetime) -> float | str:
        """Its place on the axis, as Plotly takes it."""
        return round(self.step(moment), 3) if self.steps else moment.isoformat()

    def share(self, moment: datetime) -> float:
        """Its place as a share of the axis."""
        if len(self.moments) < 2:
            return 0.0
        first, last = self.moments[0], self.moments[-1]
        return self.step(moment) / (len(self.moments) - 1) if self.steps else (moment - first) / (last - first)

    def grouped(self, events: Sequence[tuple[datetime, str]]) -> list[tuple[datetime, str]]:
        """What happened, neighbours closer than a tenth of the axis under one label."""
        groups: list[list[tuple[datetime, str]]] = []
        for event in events:
            if groups and self.share(event[0]) - self.share(groups[-1][0][0]) < 0.1:
                groups[-1].append(event)
            else:
                groups.append([event])
        return [(g[0][0], g[0][1] if len(g) == 1 else f"{g[0][1]}, {len(g) - 1} more") for g in groups]

    def layout(self) -> dict[str, Any]:
        """Dates as the pages write them; with steps about six of them, and a title that says what a step is."""
        if not self.steps:
            days = {"dtickrange": [86_400_000, "M12"], "value": "%-d %b\n%Y"}
            return {"tickformatstops": [{"dtickrange": [None, 86_400_000], "value": "%H:%M:%S\n%-d %b %Y"}, days], "hoverformat": "%-d %b %Y, %H:%M"}
        last = len(self.moments) - 1
        ticks = sorted({round(last * n / 5) for n in range(6)})
        one_day = {i: f"{self.moments[i]:%-d %b %Y}" if i == 0 else f"{self.moments[i]:%-d %b}" if self.moments[i].date() != self.moments[i - 1].date() else f"{self.moments[i]:%H:%M:%S}" for i in ticks}
        return {
            "tickvals": ticks, "ticktext": [one_day[i] for i in ticks], "range": [-0.6, last + 0.6],
            "title": {"text": "one step a measured period", "font": {"color": "@ink-2", "size": 11}},
        }  # fmt: skip


def bars(names: Sequence[str], values: Sequence[float], *, unit: str, bound: float | None = None, bound_label: str = "bound") -> Figure:
    """Horizontal bars, one a name, largest on top; those beyond the bound in the colour of a finding."""
    pairs = sorted(zip(names, values, strict=True), key=lambda p: p[1])
    layout = _layout(unit="", height=max(160, 26 * len(pairs) + 70), hovermode="closest")
    layout["xaxis"]["title"] = {"text": unit, "font": {"color": "@ink-2"}}
    layout["margin"]["l"] = 110
    if bound is not None:
        layout["shapes"].append({"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": bound, "x1": bound, "line": {"color": "@bad", "dash": "dash", "width": 2}})
        layout["annotations"].append({"yref": "paper", "y": 1, "x": bound, "xanchor": "left", "yanchor": "bottom", "text": f"{bound_label} {bound:g}", "showarrow": False, "font": {"color": "@bad", "size": 11}})
    colours = ["@warn" if bound is not None and v > bound else "@brand" for _, v in pairs]
    return {"data": [{"type": "bar", "orientation": "h", "y": [n for n, _ in pairs], "x": [v for _, v in pairs], "marker": {"color": colours}}], "layout": layout}


def interval(low: float, middle: float, high: float, *, unit: str, bound: float | None = None, zero_label: str = "no change") -> Figure:
    """One figure with its interval on an axis that also shows zero and the bound; beyond the bound in the colour of a finding."""
    layout = _layout(unit="", height=150, hovermode="closest")
    layout["xaxis"]["title"] = {"text": unit, "font": {"color": "@ink-2"}}
    layout["yaxis"] |= {"visible": False, "range": [-1, 1]}
    layout["margin"] |= {"l": 16, "t": 28}
    marks = [(0.0, zero_label, "@ink-3", "solid")] + ([(bound, f"bound {bound:,.4g}", "@bad", "dash")] if bound is not None else [])
    for number, (value, label, colour, dash) in enumerate(marks):
        layout["shapes"].append({"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": value, "x1": value, "line": {"color": colour, "dash": dash, "width": 2}})
        layout["annotations"].append({"yref": "paper", "y": 1 if number else 0, "x": value, "xanchor": "left", "yanchor": "bottom", "text": label, "showarrow": False, "font": {"color": colour, "size": 11}})
    ends = [low, high, *(value for value, *_ in marks)]
    room = (max(ends) - min(ends)) * 0.12 or 1.0
    layout["xaxis"]["range"] = [min(ends) - room, max(ends) + room]
    colour = "@bad" if bound is not None and low > bound else "@brand"
    data = {
        "type": "scatter", "mode": "markers", "x": [middle], "y": [0], "marker": {"size": 12, "color": colour},
        "error_x": {"type": "data", "symmetric": False, "array": [high - middle], "arrayminus": [middle - low], "color": colour, "thickness": 3, "width": 8},
        "hovertemplate": f"{middle:,.4g} ({low:,.4g} to {high:,.4g})<extra></extra>",
    }  # fmt: skip
    return {"data": [data], "layout": layout}


def lines(series: Sequence[tuple[str, Sequence[Point]]], *, unit: str, bound: float | None = None, bound_label: str = "bound") -> Figure:
    """Plain lines over time, with one bound."""
    figure = kpi([(n, p, None) for n, p in series], unit=unit, baseline=None, target=None, floor=None)
    if bound is not None:
        _rule(figure["layout"], bound, f"{bound_label} {bound:g}", "@bad", "dash")
    return figure


def cumulative(value: Sequence[Point], cost: Sequence[Point], *, unit: str) -> Figure:
    """Value realised against what it cost, both summed up over time."""
    return kpi([("value realised", value, None), ("run cost", cost, None)], unit=unit, baseline=None, target=None, floor=None)
