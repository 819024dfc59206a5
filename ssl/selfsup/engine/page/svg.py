"""Line charts as inline SVG."""

import math
from collections.abc import Sequence

from .html import Html, joined, short, tag

# Okabe and Ito's colours, which stay apart for most kinds of colour blindness; dashes tell them apart in print.
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
DASHES = (None, '6 3', '2 2', '8 3 2 3')
WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34
MOST_POINTS = 400  # of a line

Series = tuple[Sequence[float], Sequence[float]]


def number(value: float) -> str:
    """A number in a few characters."""
    if not math.isfinite(value):
        return 'not finite'
    return f'{value:,.0f}' if 100 <= abs(value) < 1e7 else f'{value:.3g}'


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * f for f in (1, 2, 5, 10) if power * f >= raw * 0.999)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def thinned(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """At most about `MOST_POINTS` points, evenly chosen, the first and the last among them."""
    stride = max(-(-len(xs) // MOST_POINTS), 1)
    chosen = [*range(0, max(len(xs) - 1, 0), stride), *([len(xs) - 1] if len(xs) else [])]
    return [(float(xs[i]), float(ys[i])) for i in chosen]


def _span(values: list[float], *, log: bool) -> tuple[float, float]:
    """The range of an axis: that of the values, or one around them where they are all equal."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = 0.5 if log else max(abs(low) * 0.1, 1e-6)
        return low - pad, high + pad
    return low, high


class _Axes:
    """Places of values on the paper."""

    def __init__(self, points: list[tuple[float, float]], *, log: bool):
        self.log = log
        self.x = _span([x for x, _ in points], log=False)
        self.y = _span([self._scaled(y) for _, y in points], log=log)

    def _scaled(self, y: float) -> float:
        return math.log10(y) if self.log else y

    def across(self, x: float) -> float:
        return LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def down(self, y: float) -> float:
        share = (self._scaled(y) - self.y[0]) / (self.y[1] - self.y[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def rows(self) -> list[float]:
        if not self.log:
            return ticks(*self.y)
        first, last = math.ceil(self.y[0] - 1e-9), math.floor(self.y[1] + 1e-9)
        return [10.0**k for k in range(first, last + 1, max((last - first) // 4, 1))]


def _grid(axes: _Axes, x_label: str) -> list[Html]:
    found = []
    for y in axes.rows():
        at = f'{axes.down(y):.1f}'
        found.append(tag('line', x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_='grid'))
        found.append(tag('text', number(y), x=LEFT - 5, y=at, dy='0.35em', text_anchor='end'))
    for x in ticks(*axes.x, count=6):
        at = f'{axes.across(x):.1f}'
        found.append(tag('line', x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_='grid'))
        found.append(
            tag('text', f'{x:,g}' if abs(x) < 1e5 else number(x), x=at, y=HEIGHT - BOTTOM + 14, text_anchor='middle')
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    found.append(tag('text', x_label, x=middle, y=HEIGHT - 4, text_anchor='middle'))
    return found


def _runs(points: list[tuple[float, float]], *, log: bool) -> list[list[tuple[float, float]]]:
    """Stretches of points that can be drawn: finite, and above 0 on a logarithmic axis."""
    found: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(y) and math.isfinite(x) and (y > 0 or not log):
            found[-1].append((x, y))
        elif found[-1]:
            found.append([])
    return [run for run in found if run]


def chart(title: str, series: dict[str, Series], *, x_label: str = 'step', log: bool = False) -> Html:
    """A figure with a line for each series `name -> (xs, ys)`, and their names with the last value below it.

    Numbers that are not finite interrupt a line. Long series are thinned to about `MOST_POINTS` points.
    """
    stretches = {name: _runs(thinned(*xy), log=log) for name, xy in series.items()}
    points = [point for runs in stretches.values() for run in runs for point in run]
    if not points:
        return tag('figure', tag('figcaption', title), tag('p', 'no finite value', class_='absent'), class_='chart')
    axes = _Axes(points, log=log)
    lines = []
    for place, runs in enumerate(stretches.values()):
        look = {'stroke': COLOURS[place % len(COLOURS)], 'stroke_dasharray': DASHES[place % len(DASHES)]}
        for run in runs:
            path = ' '.join(f'{axes.across(x):.1f},{axes.down(y):.1f}' for x, y in run)
            lines.append(tag('polyline', points=path, class_='line', **look))
            if len(run) <= 3:
                marks = (
                    tag('circle', cx=f'{axes.across(x):.1f}', cy=f'{axes.down(y):.1f}', r='2', fill=look['stroke'])
                    for x, y in run
                )
                lines.extend(marks)
    drawing = tag(
        'svg',
        *_grid(axes, x_label),
        *lines,
        viewBox=f'0 0 {WIDTH} {HEIGHT}',
        role='img',
        aria_label=f'{short(title)}: {", ".join(map(short, series))}',
    )
    return tag('figure', tag('figcaption', short(title)), drawing, _legend(series), class_='chart')


def _legend(series: dict[str, Series]) -> Html:
    entries = []
    for place, (name, (_, ys)) in enumerate(series.items()):
        look = {'stroke': COLOURS[place % len(COLOURS)], 'stroke_dasharray': DASHES[place % len(DASHES)]}
        key = tag('svg', tag('line', x1=0, x2=24, y1=5, y2=5, class_='line', **look), viewBox='0 0 24 10', class_='key')
        entries.append(tag('li', key, f' {short(name)}: {number(float(ys[-1])) if len(ys) else "none"}'))
    return tag('ul', joined(entries), class_='legend')
