"""
What `aicached semantic` says: `report` of what shadow mode has seen, `eval` of a setting on labelled pairs.

Law: functions that return values, and a plain text of each; commands print it, and turn it into an exit code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..cache import Cache
from ..errors import ConfigurationError
from ..runtime import BLOCKING, drive
from ..semantic import Semantic
from ..semantic.evaluation import Evaluation, Labelled, evaluate, guarded
from ..semantic.shadow import Report, observations, report, shadow_log

__all__ = ["evaluated", "pairs_of", "render_evaluation", "render_report", "reported"]

_THRESHOLDS = tuple(round(0.74 + 0.02 * step, 2) for step in range(12))


def reported(cache: Cache, function: Any, max_wrong: float = 0.02) -> Report:
    """
    Return what shadow mode has seen of a function.

    Args:
        cache: where the function keeps its answers.
        function: the decorated function, or its name as a `CacheStatus` has it: ``module:qualified.name``.
        max_wrong: the share of matches that may be wrong, 0 to 1.

    Raises:
        StoreError: the store is in trouble.
    """
    if not 0 < max_wrong < 1:
        raise ConfigurationError("max_wrong: it takes a share between 0 and 1, such as 0.02")
    engine = cache.engine
    name = function if isinstance(function, str) else function._self_site.name
    key = shadow_log(engine.codec.secret, cache.namespace, name)
    return report(name, drive(observations(BLOCKING, engine, key)), max_wrong)


def render_report(seen: Report) -> str:
    """Return a report as a table and a sentence."""
    if not seen.calls:
        return f"{seen.function}: nothing was seen yet. Run it with Semantic(..., mode='shadow')."
    lines = [
        f"{seen.function}: {seen.calls} calls without an exact answer",
        "",
        f"{'threshold':>9}{'matches':>9}{'of calls':>10}{'right':>8}{'95 % interval':>18}{'seconds':>9}{'dollars':>9}",
    ]
    for row in seen.rows:
        between = f"{row.low:.1%} to {row.high:.1%}" if row.matches else "-"
        right = f"{row.precision:.1%}" if row.matches else "-"
        figures = f"{row.threshold:>9.2f}{row.matches:>9}{row.rate:>10.1%}{right:>8}{between:>18}"
        lines.append(f"{figures}{row.seconds:>9.1f}{row.cost:>9.2f}")
    return "\n".join([*lines, "", _advice(seen)])


def _advice(seen: Report) -> str:
    best = seen.recommended
    if best is None:
        most = max((row.matches for row in seen.rows), default=0)
        return (
            f"Not worth it here, so far: under no threshold is it sure that at most {seen.max_wrong:.1%} "
            f"of the matches are wrong ({most} matches were seen in all)."
        )
    return (
        f"Recommended: threshold={best.threshold}: {best.rate:.1%} of these calls would have been answered, "
        f"saving {best.seconds:.1f} s, {best.tokens} tokens and ${best.cost:.2f}."
    )


def pairs_of(path: str | Path) -> list[Labelled]:
    """
    Read labelled pairs: JSON lines of ``{"a": text, "b": text, "label": 0 or 1}``.

    Raises:
        ConfigurationError: a line that is none; the message says which.
    """
    found = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            if line.strip():
                row: dict[str, Any] = json.loads(line)
                found.append(Labelled(str(row["a"]), str(row["b"]), bool(int(row["label"]))))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path}, line {number}: it takes an object with a, b, and label 0 or 1"
            ) from error
    return found


def evaluated(
    pairs: Iterable[Labelled], semantic: Semantic, thresholds: Sequence[float] = _THRESHOLDS
) -> dict[float | None, Evaluation]:
    """Return what a setting does at each threshold, and (under None) what the guards alone let through."""
    pairs = list(pairs)
    alone: dict[float | None, Evaluation] = {None: guarded(pairs)}
    return alone | dict(zip(thresholds, evaluate(pairs, semantic, thresholds), strict=True))


def render_evaluation(found: dict[float | None, Evaluation]) -> str:
    """Return an evaluation as a table."""
    lines = [f"{'threshold':>12}{'repeats served':>18}{'traps served':>16}"]
    for threshold, each in found.items():
        name = "guards alone" if threshold is None else f"{threshold:.2f}"
        served = f"{each.served}/{each.repeats} {each.recall:6.1%}"
        lines.append(f"{name:>12}{served:>18}{f'{each.fooled}/{each.traps} {each.wrong:6.1%}':>16}")
    return "\n".join(lines)
