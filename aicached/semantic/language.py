"""
What the guards know of a language: tables of words, and nothing else.

Law: a language is data. A guard that finds nothing in a table says nothing, so a language may begin with few of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Language", "groups", "opposites", "pairs"]

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Language:
    """
    Hold the tables of one language. Words are in lower case; what stands on one line of a table belongs together.

    Args:
        frames: phrases around a question that say nothing of it: politeness, "I was wondering".
        openers: those that say nothing at the beginning alone: "good morning".
        contractions: a word -> the words that it stands for.
        plain: words that carry no content of their own.
        asks: question words.
        intros: words before a question word that say nothing: "explain why".
        light: those of them that come and go with the grammar: articles, pronouns, auxiliaries.
        fillers: plain words that change nothing where they are put in: "help", "going".
        articles: what stands before a noun.
        links: those of them that say who does what to whom: "from", "than", "by".
        joins: words whose two sides may change places: "and", "or", "versus".
        negations: words that turn a sentence round; harmless: phrases with such a word that do not.
        numbers: a word -> its number; scales: a word -> what it multiplies by.
        units: a spelling -> the unit.
        synonyms: a word -> the one that stands for all that mean the same.
        opposites: a word -> those that must not be taken for it.
        prefixes: beginnings of a word that turn it round; endings: pairs of endings that do.
        confusable: pairs of words that look like one misspelled, and are two.
        forms: words that say which part or form of an answer is wanted.
        moments: words that say when, and exclude each other.
        kinds: what a question begins with -> the kind of answer that it wants.
        spans: words that make an amount a duration: "how many days".
        volatile: phrases whose answer changes by the hour; possessive: what does in "my balance".
        general: words that make a question about "my ..." a general one: "how do I", "can".
        orders: verbs that ask for something to be done, at the beginning of a text.
        pointers: words that point at what was said before.
    """

    frames: tuple[str, ...] = ()
    openers: tuple[str, ...] = ()
    contractions: Mapping[str, str] = field(default_factory=dict)
    plain: frozenset[str] = _NONE
    asks: frozenset[str] = _NONE
    intros: frozenset[str] = _NONE
    light: frozenset[str] = _NONE
    fillers: frozenset[str] = _NONE
    articles: frozenset[str] = _NONE
    links: frozenset[str] = _NONE
    joins: frozenset[str] = _NONE
    negations: frozenset[str] = _NONE
    harmless: tuple[str, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)
    scales: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, str] = field(default_factory=dict)
    opposites: Mapping[str, frozenset[str]] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    endings: tuple[tuple[str, str], ...] = ()
    confusable: frozenset[frozenset[str]] = frozenset()
    forms: frozenset[str] = _NONE
    moments: frozenset[str] = _NONE
    kinds: tuple[tuple[str, str], ...] = ()
    spans: frozenset[str] = _NONE
    volatile: tuple[str, ...] = ()
    possessive: frozenset[str] = _NONE
    general: frozenset[str] = _NONE
    orders: frozenset[str] = _NONE
    pointers: frozenset[str] = _NONE


def groups(table: str) -> dict[str, str]:
    """Return each word of a table -> the first word of its line; ``_`` stands for a space."""
    return {
        word.replace("_", " "): line.split()[0].replace("_", " ") for line in _lines(table) for word in line.split()
    }


def pairs(table: str) -> frozenset[frozenset[str]]:
    """Return the pairs of a table, one to a line."""
    return frozenset(frozenset(line.split()) for line in _lines(table))


def opposites(table: str) -> dict[str, frozenset[str]]:
    """Return each word -> all words on the other sides of its lines; sides are parted by a stroke."""
    found: dict[str, set[str]] = {}
    for line in _lines(table):
        sides = [side.split() for side in line.split("|")]
        for side in sides:
            others = {word for other in sides if other is not side for word in other}
            for word in side:
                found.setdefault(word, set()).update(others)
    return {word: frozenset(others) for word, others in found.items()}


def _lines(table: str) -> Iterable[str]:
    return (line for line in table.splitlines() if line.strip())
