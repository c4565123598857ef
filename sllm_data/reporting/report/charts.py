"""Charts as SVG: bars, histograms, lines. Each has a title, a description and its table beside.

Colours are classes (`s0`, `s1`), which the page's style sheet sets for light and for dark.
"""

from collections.abc import Mapping, Sequence
from itertools import count

from sllm_data.reporting.report.markup import details, number, share, table, text

_WIDTH = 720
_BAR = 13
_LETTER = 6.6  # width of one at 12 pixels
_LONGEST_NAME = 28


class Charts:
    """Draws the charts of one page, whose ids must differ."""

    def __init__(self) -> None:
        self._ids = count()

    def bars(self, title: str, names: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
        """Draws horizontal bars of shares, those of one name beside each other."""
        most = max((value for values in series.values() for value in values), default=0) or 1
        left = 16 + _LETTER * min(_LONGEST_NAME, max(map(len, names), default=0))
        scale = (_WIDTH - left - 60) / most
        group = _BAR * len(series) + 8
        shapes = []
        for place, name in enumerate(names):
            top = 8 + place * group
            middle = top + _BAR * len(series) / 2 + 4
            shapes.append(
                f'<text x="{left - 8:.1f}" y="{middle:.1f}" text-anchor="end">'
                f"{text(_short(name))}</text>"
            )
            for row, values in enumerate(series.values()):
                y, width = top + row * _BAR, scale * values[place]
                shapes.append(
                    f'<rect class="s{row}" x="{left:.1f}" y="{y}" width="{width:.1f}" '
                    f'height="{_BAR - 2}"/><text class="small" x="{left + width + 5:.1f}" '
                    f'y="{y + _BAR - 4}">{share(values[place])}</text>'
                )
        lines = [
            (name, *(share(values[place]) for values in series.values()))
            for place, name in enumerate(names)
        ]
        return self._figure(
            title,
            f"{len(names)} groups of bars: {', '.join(series)}; the longest is {share(most)}.",
            8 + group * len(names),
            shapes,
            _legend(list(series)) + _as_table(title, ("", *series), lines),
        )

    def histogram(
        self, title: str, unit: str, edges: Sequence[float], counts: Sequence[int], *, top: float
    ) -> str:
        """Draws a histogram.

        Args:
            title: What is counted.
            unit: Of the edges.
            edges: One more than counts; the last bin has all that is beyond.
            counts: Of each bin.
            top: The share of all values that reaches the top, so that two datasets of
                different sizes can be compared.
        """
        left, bottom, height = 16, 200, 175
        step = (_WIDTH - 2 * left) / len(counts)
        shapes = [
            f'<line class="axis" x1="{left}" x2="{_WIDTH - left}" y1="{bottom}" y2="{bottom}"/>'
        ]
        scale = height / (top * sum(counts))
        labelled = max(1, round(len(counts) / 10))
        for place, num in enumerate(counts):
            x, tall = left + place * step, num * scale
            shapes.append(
                f'<rect class="s0" x="{x:.1f}" y="{bottom - tall:.1f}" '
                f'width="{max(1.0, step - 1.5):.1f}" height="{tall:.1f}">'
                f"<title>{text(_bin(edges, place))} {text(unit)}: {num:,}</title></rect>"
            )
            if place % labelled == 0:
                shapes.append(
                    f'<text class="small" x="{x:.1f}" y="{bottom + 16}">{edges[place]:g}</text>'
                )
        shapes.append(
            f'<text class="small" x="{_WIDTH - left}" y="{bottom + 32}" text-anchor="end">'
            f"{text(unit)}</text>"
        )
        tallest = max(range(len(counts)), key=counts.__getitem__)
        middle, above = left + (tallest + 0.5) * step, bottom - max(counts) * scale
        shapes.append(_label(middle, above - 5, f"{max(counts):,}", anchor="middle"))
        lines = [(_bin(edges, place), number(num)) for place, num in enumerate(counts)]
        return self._figure(
            title,
            f"{sum(counts):,} values; the largest bin has {counts[tallest]:,}: "
            f"{_bin(edges, tallest)} {unit}.",
            bottom + 40,
            shapes,
            _as_table(title, (unit, "number"), lines),
        )

    def line(self, title: str, points: Sequence[tuple[float, float]]) -> str:
        """Draws a rate over seconds as steps: each point is the mean since the one before."""
        left, right, bottom, height = 56, _WIDTH - 16, 190, 165
        most = max(value for _, value in points) or 1
        end = points[-1][0] or 1
        path, before = [f"M{left} {bottom}"], float(left)
        for seconds, value in points:
            x, y = left + (right - left) * seconds / end, bottom - height * value / most
            path.append(f"L{before:.1f} {y:.1f}L{x:.1f} {y:.1f}")
            before = x
        path.append(f"L{before:.1f} {bottom}Z")
        shapes = [
            f'<path class="area" d="{"".join(path)}"/>',
            f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>',
            _label(left - 6, bottom - height + 4, f"{most:,.0f}", anchor="end"),
            _label(left - 6, bottom, "0", anchor="end"),
            _label(left, bottom + 18, "0 s", anchor="start"),
            _label(right, bottom + 18, f"{end:,.0f} s", anchor="end"),
        ]
        lines = [(f"{seconds:,.1f}", f"{value:,.1f}") for seconds, value in points]
        return self._figure(
            title,
            f"From 0 to {end:,.0f} seconds; the highest rate is {most:,.1f}.",
            bottom + 26,
            shapes,
            _as_table(title, ("until second", "answers a second"), lines),
        )

    def _figure(
        self, title: str, description: str, height: float, shapes: Sequence[str], below: str
    ) -> str:
        name = f"chart-{next(self._ids)}"
        return (
            f'<figure><figcaption>{text(title)}</figcaption><div class="wide" tabindex="0" '
            f'role="region" aria-label="{text(title)}"><svg viewBox="0 0 {_WIDTH} {height:g}" '
            f'role="img" aria-labelledby="{name}-title {name}-text"><title id="{name}-title">'
            f'{text(title)}</title><desc id="{name}-text">{text(description)}</desc>'
            f"{''.join(shapes)}</svg></div>{below}</figure>"
        )


def _label(x: float, y: float, content: str, *, anchor: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="small" {place}>{text(content)}</text>'


def _bin(edges: Sequence[float], place: int) -> str:
    if place == len(edges) - 2:
        return f"{edges[place]:g} and more"
    return f"{edges[place]:g} to {edges[place + 1]:g}"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "\u2026"


def _legend(names: Sequence[str]) -> str:
    items = (
        f'<li><span class="key k{place}" aria-hidden="true"></span>{text(name)}</li>'
        for place, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>' if len(names) > 1 else ""


def _as_table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return details("the same as a table", table(title, header, lines))
