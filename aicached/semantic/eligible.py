"""
Which texts may match another at all; all others are answered by their exact key alone.

Law: a text that is refused here costs no embedding and is no candidate for others. The reason is a word for people.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .english import ENGLISH
from .language import Language
from .outline import outline

__all__ = ["refusal"]

#: Words of a text, at most: of long prose neither an embedding nor a rule about words says enough.
LONGEST = 64
#: Words with content of their own, at least; and of a text with a word that points back.
_FEWEST, _FEWEST_POINTING = 1, 2
_CODE = re.compile(r"```|\n.*\n.*\n|^\s*[{\[<]")


@lru_cache(maxsize=4096)
def refusal(text: str, language: Language = ENGLISH) -> str | None:
    """Return why a text is matched exactly only; None where it may match others."""
    if len(text) > 2000 or _CODE.search(text):
        return "long or structured"
    seen = outline(text, language)
    if len(seen.every) > LONGEST:
        return "long or structured"
    own = len(seen.words) + len(seen.numbers) + len(seen.codes)
    if own < _FEWEST or len(seen.every) < 2:
        return "too short"
    said = f" {' '.join(seen.every)} "
    if own < _FEWEST_POINTING and _points(seen.every, language):
        return "points at what was said before"
    if _orders(text, seen.every, language):
        return "asks for something to be done"
    volatile = any(f" {phrase} " in said for phrase in language.volatile) or _about_me(seen.every, language)
    return "volatile" if volatile else None


def _points(every: tuple[str, ...], language: Language) -> bool:
    return not language.pointers.isdisjoint(every)


def _about_me(every: tuple[str, ...], language: Language) -> bool:
    """Does it ask about something of the asker's that changes: "my balance", "my pending orders"?"""
    for at, word in enumerate(every):
        if word == "my" and not language.possessive.isdisjoint(every[at + 1 : at + 4]):
            return not any(question in every[:at] for question in language.general)
    return False


def _orders(text: str, every: tuple[str, ...], language: Language) -> bool:
    """Does it begin with a verb that asks for a deed?"""
    return bool(every) and every[0] in language.orders and not text.rstrip().endswith("?")
