"""
The page of ``aicached report``: HTML and SVG in one text, with nothing to load and nothing to run.

Law: figures come in, text goes out. No script, so there is nothing to hover over: what a plot shows is also written.
Every text that comes from outside is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

from ..savings import Savings
from ..status import CacheInfo, Stats, Usage

__all__ = ["Facts", "Valuable", "page"]


@dataclass(frozen=True, slots=True)
class Valuable:
    """Hold an entry whose hits save much."""

    function: str
    key: str
    cost: float
    usage: Usage | None
    seconds: float
    age: float


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what the page shows; `look_up` is the seconds of a hit, None where nothing is stored."""

    store: str
    namespace: str
    written: str
    stats: Stats
    savings: Savings
    days: dict[date, dict[str, float]]
    reasons: dict[str, int]
    look_up: float | None
    entries: int
    valuable: Sequence[Valuable]


def page(facts: Facts) -> str:
    """Return the page."""
    total = facts.stats.total
    calls = total.hits + total.misses + total.bypassed
    body = [
        f"<header><h1>aicached</h1><p>{_text(facts.store)} · namespace {_text(facts.namespace)}<br>"
        f"written {_text(facts.written)}</p></header>",
        _tiles(facts, calls),
        _section("Hit rate by day", "Hits among all calls of a day.", _hit_rates(facts)),
        _section("Savings by day", _what_is_saved(facts)[1], _savings(facts)),
        _section("Latency", "Seconds per call, on a logarithmic scale.", _latency(facts), "half"),
        _section("Misses by reason", "Of the last 30 days.", _bars(facts.reasons, _count), "half"),
        _section("By function", "All calls of all processes.", _functions(facts.stats)),
        _section("Most valuable entries", f"What one hit saves; {facts.entries:,} are stored.", _valuable(facts)),
    ]
    return _FRAME.format(style=_STYLE, body="\n".join(body))


def _section(title: str, note: str, content: str, kind: str = "full") -> str:
    return f"<section class={kind}><h2>{_text(title)}</h2><p class=note>{_text(note)}</p>{content}</section>"


def _tiles(facts: Facts, calls: int) -> str:
    savings = facts.savings
    tiles = [
        ("hit rate", f"{facts.stats.hit_rate:.1%}"),
        ("calls", f"{calls:,}"),
        ("dollars saved", _dollars(savings.cost)),
        ("tokens saved", f"{savings.tokens:,}"),
        ("time saved", _duration(savings.seconds)),
    ]
    return f"<dl class=tiles>{''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>' for name, value in tiles)}</dl>"


# Plots ---------------------------------------------------------------------------------------------------------------


def _hit_rates(facts: Facts) -> str:
    rates = {}
    for day, figures in facts.days.items():
        calls = figures["hits"] + figures["misses"] + figures["bypassed"]
        rates[day] = figures["hits"] / calls if calls else None
    return _by_day(rates, 1.0, lambda rate: f"{rate:.0%}", "Hit rate by day")


def _what_is_saved(facts: Facts) -> tuple[str, str, Callable[[float], str]]:
    """Return which figure is plotted: dollars where prices are known, else tokens, else calls."""
    days = facts.days.values()
    if any(day["cost"] for day in days):
        return "cost", "Dollars that hits saved.", _dollars
    if any(day["tokens"] for day in days):
        return "tokens", "Tokens that hits saved; prices= or the extra prices would make them dollars.", _count
    return "hits", "Calls that hits saved; usage= or the provider's answer would tell tokens.", _count


def _savings(facts: Facts) -> str:
    name, _, shown = _what_is_saved(facts)
    figures = {day: each[name] or None for day, each in facts.days.items()}
    top = max((figure for figure in figures.values() if figure), default=0.0)
    return _by_day(figures, top, shown, "Savings by day")


def _by_day(figures: dict[date, float | None], top: float, shown: Callable[[float], str], title: str) -> str:
    """Plot one bar per day, wide for large screens and narrow for small ones; None is a day without calls."""
    if not any(figure is not None for figure in figures.values()):
        return "<p class=empty>Nothing was counted in these days.</p>"
    recent = dict(list(figures.items())[-14:])
    best = max((figure, day) for day, figure in figures.items() if figure is not None)
    last = next(((figure, day) for day, figure in reversed(figures.items()) if figure is not None))
    words = f"{title}: {shown(best[0])} at most, on {best[1]}; {shown(last[0])} on {last[1]}."
    wide = _plot(figures, top, shown, 1000, f"{words} The last {len(figures)} days.")
    narrow = _plot(recent, top, shown, 340, f"{words} The last {len(recent)} days.")
    return f"<div class=wide>{wide}</div><div class=narrow>{narrow}</div><p class=words>{_text(words)}</p>"


def _plot(figures: dict[date, float | None], top: float, shown: Callable[[float], str], width: int, words: str) -> str:
    left, floor, height = 64, 150, 190
    step = (width - left - 16) / len(figures)  # room for half of the last day's name
    every = math.ceil(len(figures) * 52 / (width - left))
    marks = [_gridline(top * share, floor - 130 * share, left, width, shown) for share in (0, 0.5, 1)]
    for place, (day, figure) in enumerate(figures.items()):
        x = left + place * step
        if figure is not None:
            tall = max(130 * figure / top if top else 0, 1)
            marks.append(
                f'<rect class=bar x="{x + step * 0.15:.1f}" y="{floor - tall:.1f}" width="{step * 0.7:.1f}" '
                f'height="{tall:.1f}"><title>{day}: {_text(shown(figure))}</title></rect>'
            )
        if (len(figures) - 1 - place) % every == 0:
            marks.append(f'<text x="{x + step / 2:.1f}" y="{floor + 20}" text-anchor=middle>{day:%d %b}</text>')
    return f'<svg viewBox="0 0 {width} {height}" role=img aria-label="{_text(words)}">{"".join(marks)}</svg>'


def _gridline(value: float, y: float, left: int, width: int, shown: Callable[[float], str]) -> str:
    text = f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor=end>{_text(shown(value))}</text>'
    return f'{text}<line class=grid x1="{left}" x2="{width}" y1="{y:.0f}" y2="{y:.0f}"/>'


def _latency(facts: Facts) -> str:
    rows: dict[str, float] = {}
    for name, info in facts.stats.items():
        computed = info.misses - info.collapsed
        if computed > 0 and info.seconds_spent > 0:
            rows[f"{name}, raw"] = info.seconds_spent / computed
    slowest = dict(sorted(rows.items(), key=lambda row: -row[1])[:8])
    if facts.look_up is not None:
        slowest["from the cache"] = facts.look_up
    if not slowest:
        return "<p class=empty>Nothing was measured yet.</p>"
    low = math.log10(min(slowest.values())) - 0.5
    high = max(math.log10(max(slowest.values())), low + 1)
    raw = max(slowest.values())
    note = ""
    if facts.look_up:
        note = f"<p class=words>A hit took {_duration(facts.look_up)}, measured now: look-up and decoding.</p>"
    return _bars(slowest, _duration, lambda value: (math.log10(value) - low) / (high - low) if raw else 0) + note


def _bars(
    rows: dict[str, float] | dict[str, int],
    shown: Callable[[float], str],
    share: Callable[[float], float] | None = None,
) -> str:
    """Plot lying bars, each with its name and figure in words."""
    top = max(rows.values(), default=0)
    if not top:
        return "<p class=empty>There were none.</p>"
    part = share or (lambda value: value / top)
    return f"<dl class=bars>{''.join(_bar(name, value, shown, part(value)) for name, value in rows.items())}</dl>"


def _bar(name: str, value: float, shown: Callable[[float], str], share: float) -> str:
    width = max(min(share, 1.0) * 100, 0.4 if value else 0)
    svg = f'<svg viewBox="0 0 100 10" preserveAspectRatio=none aria-hidden=true><rect class=bar width="{width:.1f}" height=10 /></svg>'  # noqa: E501
    return f"<dt>{_text(name)}</dt><dd>{svg}<span>{_text(shown(value))}</span></dd>"


# Tables --------------------------------------------------------------------------------------------------------------


def _functions(stats: Stats) -> str:
    if not stats:
        return "<p class=empty>Nothing was called yet.</p>"
    rows = sorted(stats.items(), key=lambda item: (-item[1].cost_saved, -item[1].hits))
    columns = ("function", "hits", "misses", "hit rate", "saved", "tokens saved", "time saved")
    return _table(columns, [_function(name, info) for name, info in rows])


def _function(name: str, info: CacheInfo) -> tuple[str, ...]:
    calls = info.hits + info.misses + info.bypassed
    rate = f"{info.hits / calls:.1%}" if calls else "-"
    saved = (_dollars(info.cost_saved), f"{info.tokens_saved:,}", _duration(info.seconds_saved))
    return (name, f"{info.hits:,}", f"{info.misses:,}", rate, *saved)


def _valuable(facts: Facts) -> str:
    if not facts.valuable:
        return "<p class=empty>Nothing is stored.</p>"
    rows = [
        (
            each.function,
            each.key[:12],
            _dollars(each.cost),
            f"{each.usage.tokens:,}" if each.usage else "-",
            _duration(each.seconds),
            _duration(each.age),
        )
        for each in facts.valuable
    ]
    return _table(("function", "key", "saves", "tokens", "time", "age"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out; on small screens each becomes a block, with the names of the columns in front."""
    head = "".join(f"<th scope=col>{_text(name)}</th>" for name in columns)
    body = "".join(f"<tr>{_cells(columns, row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(columns: Sequence[str], row: Sequence[str]) -> str:
    first, *rest = zip(columns, row, strict=True)
    cells = "".join(f'<td data-name="{_text(name)}">{_text(cell)}</td>' for name, cell in rest)
    return f"<th scope=row>{_text(first[1])}</th>{cells}"


# Words ---------------------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    return escape(str(value), quote=True)


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _dollars(value: float) -> str:
    return f"${value:,.2f}" if value >= 1 or not value else f"${value:.4f}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    if seconds >= 1 or not seconds:
        return f"{seconds:.1f} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>aicached report</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { --paper: #fff; --ink: #1c2330; --soft: #5b6576; --line: #d8dde6; --bar: #2563c9; --card: #f5f7fa }
@media (prefers-color-scheme: dark) {
  :root { --paper: #12161d; --ink: #e8ecf3; --soft: #a3adbd; --line: #333c4a; --bar: #6ea8ff; --card: #1b212b }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.45 system-ui, sans-serif }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 48px; display: grid; gap: 24px;
  grid-template-columns: repeat(2, minmax(0, 1fr)) }
header, .tiles, section { grid-column: 1 / -1 }
.half { grid-column: auto }
h1 { margin: 0; font-size: 28px }
h2 { margin: 0; font-size: 18px }
p { margin: 0; overflow-wrap: anywhere }
header p, .note, .words, .empty { color: var(--soft); font-size: 14px }
section { border: 1px solid var(--line); border-radius: 8px; padding: 16px; min-width: 0 }
section > * + * { margin-top: 8px }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 0 }
.tiles div { background: var(--card); border-radius: 8px; padding: 12px 16px }
.tiles dt { color: var(--soft); font-size: 14px }
.tiles dd { margin: 0; font-size: 26px; font-variant-numeric: tabular-nums }
svg { display: block; width: 100%; height: auto }
svg text { fill: var(--soft); font-size: 13px }
.bar { fill: var(--bar) }
.grid { stroke: var(--line) }
.narrow { display: none }
.bars { display: grid; gap: 2px; margin: 12px 0 0 }
section > .bars { margin-top: 12px }
.bars dt { font-size: 14px; overflow-wrap: anywhere }
.bars dd { margin: 0 0 8px; display: grid; grid-template-columns: minmax(0, 1fr) 84px; gap: 12px; align-items: center }
.bars svg { height: 14px; background: var(--card) }
.bars span { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
table { border-collapse: collapse; width: 100%; font-size: 15px; font-variant-numeric: tabular-nums }
th, td { padding: 6px 8px; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top }
th:first-child { text-align: left; overflow-wrap: anywhere; font-weight: 500 }
thead th { color: var(--soft); font-weight: 500; font-size: 14px; white-space: nowrap }
@media (max-width: 860px) {
  .wide { display: none }
  .narrow { display: block }
  main { grid-template-columns: minmax(0, 1fr) }
  .half { grid-column: 1 / -1 }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)) }
  .tiles dd { font-size: 22px }
  thead { display: none }
  tr { display: block; border-bottom: 1px solid var(--line); padding: 6px 0 }
  th[scope=row], td { display: flex; justify-content: space-between; border: 0; padding: 3px 0 }
  td::before { content: attr(data-name); color: var(--soft) }
}
@media print {
  :root { --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --bar: #2563c9; --card: #f2f2f2 }
  section, .tiles div { break-inside: avoid }
  .bar, .tiles div, .bars svg { print-color-adjust: exact; -webkit-print-color-adjust: exact }
}
"""
