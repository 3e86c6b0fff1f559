"""Charts: the reports' pictures, written as inline SVG without a library.

Input:   numbers.
Output:  `<svg>` elements that take their colours from the page's style sheet, so they follow light and dark.
Source:  ours; `scatter` draws what figure 5 of arXiv 2401.12474 shows.

Example:
    bars([Bar("consistency", "before", 0, 0.52, 0.4, 0.6, 0.0, 1.0), ...], "...") -> '<svg viewBox="0 0 460 ...">...</svg>'
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SERIES = 6
"""Colours that the style sheet has for series; a seventh series takes the first again."""
_WIDTH = 460
_LEFT, _RIGHT = 150, 45
_ROW, _GAP = 22, 14


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a mean with its interval on a scale from `least` to `most`.

    Attributes:
        group: Bars of one group stand together.
        name: Of the series, such as a model.
        series: Number of the series, which gives the colour.
        value: None draws no bar and says so.
    """

    group: str
    name: str
    series: int
    value: float | None
    low: float | None
    high: float | None
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a scatter plot; points of one series share a colour and stand in the legend once."""

    name: str
    series: str
    x: float
    y: float


def bars(rows: Sequence[Bar], title: str) -> str:
    """Horizontal bars, each group on its own scale, with the interval as a whisker."""
    parts, y, group = [], 4.0, ""
    for row in rows:
        y += _GAP if group and row.group != group else 0
        group = row.group
        parts.append(_bar(row, y))
        y += _ROW
    return _svg(parts, y + 4, title)


def line(points: Sequence[tuple[float, float]], title: str) -> str:
    """A curve over steps; points that are not finite are left out. "" for fewer than two."""
    known = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if len(known) < 2:
        return ""
    left, top, width, height = 48, 12, _WIDTH - 60, 150
    least_x, most_x = min(x for x, _ in known), max(x for x, _ in known)
    least_y, most_y = min(y for _, y in known), max(y for _, y in known)

    def place(x: float, y: float) -> str:
        across = left + width * (x - least_x) / ((most_x - least_x) or 1)
        down = top + height * (most_y - y) / ((most_y - least_y) or 1)
        return f"{across:.1f},{down:.1f}"

    drawn = " ".join(place(x, y) for x, y in known)
    bottom = top + height
    parts = [
        f'<path class="axis" d="M{left},{top}V{bottom}H{left + width}"/>',
        f'<polyline class="curve" points="{drawn}"/>',
        _label(left - 8, top + 8, f"{most_y:.3g}", "end"),
        _label(left - 8, bottom, f"{least_y:.3g}", "end"),
        _label(left, bottom + 20, f"step {least_x:g}", "start"),
        _label(left + width, bottom + 20, f"step {most_x:g}", "end"),
    ]
    return _svg(parts, bottom + 30, title)


def scatter(points: Sequence[Point], scale: tuple[float, float], across: str, up: str, title: str) -> str:
    """Points on a square with its diagonal, both axes on one scale; "" for no point.

    Args:
        points: Each is drawn with its name beside it.
        scale: Least and most of both axes.
        across: What x is.
        up: What y is.
        title: Of the picture.
    """
    if not points:
        return ""
    left, top, side = 56, 14, 330
    least, most = scale

    def place(value: float) -> float:
        return side * (min(max(value, least), most) - least) / (most - least)

    bottom = top + side
    parts = [
        f'<path class="axis" d="M{left},{top}V{bottom}H{left + side}"/>',
        f'<path class="diagonal" d="M{left},{bottom}L{left + side},{top}"/>',
    ]
    for step in range(5):
        value = least + (most - least) * step / 4
        parts.append(_label(left - 8, bottom - place(value) + 4, f"{value:g}", "end"))
        parts.append(_label(left + place(value), bottom + 18, f"{value:g}", "middle"))
    names = sorted({point.series for point in points})
    for point in points:
        x, y = left + place(point.x), bottom - place(point.y)
        told = escape(f"{point.name}, {point.series}: {point.x:.2f}, {point.y:.2f}")
        colour = _colour(names.index(point.series))
        parts.append(f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="6"><title>{told}</title></circle>')
        inside = x < left + side * 0.7
        parts.append(_label(x + 9 if inside else x - 9, y + 4, point.name, "start" if inside else "end"))
    parts.append(_label(left + side / 2, bottom + 38, across, "middle"))
    parts.append(f'<text transform="translate(14 {top + side / 2}) rotate(-90)" text-anchor="middle">{escape(up)}</text>')
    y = float(bottom + 56)
    for number, name in enumerate(names):
        parts.append(f'<circle class="{_colour(number)}" cx="{left + 6}" cy="{y - 4:.1f}" r="6"/>')
        parts.append(_label(left + 18, y, name, "start"))
        y += 20
    return _svg(parts, y, title)


def _bar(row: Bar, y: float) -> str:
    middle = y + _ROW / 2
    name = _label(_LEFT - 8, middle + 5, _short(f"{row.group}, {row.name}"), "end")
    if row.value is None:
        return name + _label(_LEFT + 4, middle + 5, "not scored", "start")
    x = _place(row.value, row)
    length = max(x - _LEFT, 1.0)
    shape = f'<rect class="{_colour(row.series)}" x="{_LEFT}" y="{y + 3:.1f}" width="{length:.1f}" height="{_ROW - 6}"/>'
    whisker, end = "", x
    if row.low is not None and row.high is not None:
        low, end = _place(row.low, row), max(x, _place(row.high, row))
        whisker = f'<path class="whisker" d="M{low:.1f},{middle:.1f}H{_place(row.high, row):.1f}"/>'
    return name + shape + whisker + _label(end + 6, middle + 5, f"{row.value:.2f}", "start")


def _place(value: float, row: Bar) -> float:
    share = (value - row.least) / (row.most - row.least)
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(max(share, 0.0), 1.0)


def _colour(series: int) -> str:
    return f"s{series % SERIES}"


def _short(text: str) -> str:
    return text if len(text) <= 22 else text[:21] + "…"


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    name = escape(title)
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{name}"><title>{name}</title>{"".join(parts)}</svg>'
