"""
The option ``semantic=``: what the user declares, checked once.

Law: what cannot be meant is refused where it is written down; importing this imports neither numpy nor a model.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .language import Language

__all__ = ["GUARD_NAMES", "Semantic"]

#: Names of all guards, in the order in which they are asked.
GUARD_NAMES = (
    "number", "unit", "identifier", "negation", "opposite", "name", "direction",
    "substitution", "addition", "kind", "form", "moment", "quotation", "script",
)  # fmt: skip

#: Identity of an embedder -> its threshold: about one trap in a hundred passes. Looser ones: docs/semantic.md.
THRESHOLDS = {"all-MiniLM-L6-v2": 0.81, "wordllama-l2-supercat-256": 0.80}

_MODES = ("serve", "shadow")


@dataclass(frozen=True, slots=True)
class Semantic:
    """
    Let a stored call answer another one whose text means the same.

    Args:
        text: name of the one parameter that holds free text: a string, or messages, of which the text of the last user
            message counts, while all earlier turns must be equal. Every other argument must be equal, too.
        embed: a callable over a list of texts that returns one vector for each, sync or async; None = `MiniLM`.
        threshold: cosine from which two texts may match, 0 to 1; None = the embedder's own, where it is known.
        guards: True = all; False = none; or the names of those that are asked.
        mode: ``"serve"``, or ``"shadow"``: everything is looked up and written down, nothing is served.
        candidates: how many stored calls are looked at, the nearest first.
        limit: how many stored calls of one partition may answer, the newest stay.
        timeout: seconds that an embedding may take; beyond it the call is exact only.
        language: whose tables the guards use; None = English.
        same: ``same(fresh, recorded)``: do two answers say the same? For shadow mode; None = equal but for case and
            spaces, or near by the same embedder.

    Raises:
        ConfigurationError: a value that cannot be meant, an embedder without a known threshold, a missing package.
    """

    text: str
    embed: Callable[..., Any] | None = None
    threshold: float | None = None
    guards: bool | Iterable[str] = True
    mode: str = "serve"
    candidates: int = 5
    limit: int = 10_000
    timeout: float = 1.0
    language: Language | None = None
    same: Callable[[Any, Any], bool] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text:
            raise _bad("text", "the name of the parameter that holds the free text")
        if importlib.util.find_spec("numpy") is None:
            raise ConfigurationError("Semantic(): needs numpy: pip install 'aicached[semantic]'")
        if self.embed is None:
            from .minilm import MiniLM

            object.__setattr__(self, "embed", MiniLM())
        if not callable(self.embed):
            raise _bad("embed", "a callable over a list of texts, or None for MiniLM")
        object.__setattr__(self, "threshold", self._checked_threshold())
        object.__setattr__(self, "guards", _names(self.guards))
        if self.mode not in _MODES:
            raise _bad("mode", '"serve" or "shadow"')
        for name in ("candidates", "limit"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise _bad(name, "a whole number, 1 or more")
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, (int, float)) or not self.timeout > 0:
            raise _bad("timeout", "seconds, more than 0")
        if self.same is not None and not callable(self.same):
            raise _bad("same", "a function of two answers, or None")

    def _checked_threshold(self) -> float:
        value: Any = self.threshold
        if value is None:
            value = getattr(self.embed, "threshold", None) or THRESHOLDS.get(getattr(self.embed, "identity", ""))
            if value is None:
                raise ConfigurationError(
                    "Semantic(): this embedder has no known threshold: say threshold=, the cosine from which two texts "
                    'may match. mode="shadow" with any threshold, and `aicached semantic report`, tell which'
                )
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1 or math.isnan(value):
            raise _bad("threshold", "a cosine, more than 0 and at most 1")
        return float(value)


def _names(guards: Any) -> tuple[str, ...]:
    if isinstance(guards, bool):
        return GUARD_NAMES if guards else ()
    names = (guards,) if isinstance(guards, str) else guards
    if not isinstance(names, Iterable):
        raise _bad("guards", "True, False, or names of guards")
    names = tuple(names)
    unknown = [name for name in names if name not in GUARD_NAMES]
    if unknown:
        raise _bad("guards", f"names of guards ({', '.join(GUARD_NAMES)}), not {unknown[0]!r}")
    return names


def _bad(name: str, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"Semantic(): {name} takes {allowed}")
