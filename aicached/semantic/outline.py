"""
What of a text the guards look at, taken down once: words, numbers with their units, negations, quotations, scripts.

Law: an outline depends on the text and the language alone, and two texts that differ in case, punctuation, politeness
or spelling of the same number have outlines that compare as equal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from .english import ENGLISH
from .language import Language

__all__ = ["Outline", "Word", "outline", "stem"]

#: A quotation or code; else a number with what hangs on it; else a word; else a sign that means something by itself.
_TOKEN = re.compile(
    r"(?P<quote>```.+?```|`[^`]+`|\"[^\"]{2,}\"|“[^”]{2,}”|(?<!\w)'[^']{2,}'(?!\w))"
    r"|(?P<number>[$€£]?\d+(?:[.,:]\d+)*%?)(?P<hung>[^\W\d_]\w*|(?:[-_/]\w*\d\w*)+)?"
    r"|(?P<word>\.?[^\W\d_]+(?:['’][^\W\d_]+)*(?:[-_./&][^\W_]+)*\d*(?:\w)*(?:\+\+|\#)?)"
    r"|(?P<sign>[=!<>+*/\\^|&%$€£°-]+)",
    re.DOTALL,
)
#: What hangs on a number without changing it.
_ORDINAL = ("st", "nd", "rd", "th", "s")
_LETTERS = re.compile(r"\w+")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
#: "401(k)" is one thing.
_BRACKETED = re.compile(r"(\d)\((\w)\)")
_ROMAN = {"II": "2", "III": "3", "IV": "4", "VI": "6", "VII": "7", "VIII": "8", "IX": "9", "XI": "11", "XII": "12"}
_TAGS = (
    "LATIN",
    "CYRILLIC",
    "GREEK",
    "ARABIC",
    "HEBREW",
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "HANGUL",
    "DEVANAGARI",
    "THAI",
)


class Word(NamedTuple):
    """
    Hold one word that stands for something.

    Args:
        text: in lower case, as it was written.
        stem: what its forms and synonyms have in common.
        name: written like a name: a capital inside a sentence, or capitals alone.
        link: the linking word right before it; empty where there is none.
    """

    text: str
    stem: str
    name: bool
    link: str


class Outline(NamedTuple):
    """
    Hold what the guards compare.

    Args:
        words: those with content, in order.
        joints: what some that follow each other make when written as one, and their initials -> these words.
        every: all words, in order, without frames.
        numbers: in digits, sorted; order: as they stand; units: what is measured in, sorted.
        codes: identifiers: words with digits in them, sorted.
        quotes: quotations and code, sorted; signs: operators, sorted.
        negated: is the number of its negations odd?
        kind: the kind of answer that is wanted; empty where it cannot be told.
        scripts: the writing systems of its letters.
        past: does it speak of the past?
    """

    words: tuple[Word, ...]
    joints: Mapping[str, tuple[Word, ...]]
    every: tuple[str, ...]
    numbers: tuple[str, ...]
    order: tuple[str, ...]
    units: tuple[str, ...]
    codes: tuple[str, ...]
    quotes: tuple[str, ...]
    signs: tuple[str, ...]
    negated: bool
    kind: str
    scripts: frozenset[str]
    past: bool


@lru_cache(maxsize=4096)
def outline(text: str, language: Language = ENGLISH) -> Outline:
    """Return the outline of a text; the last few thousand are remembered."""
    return _Reader(language).read(text)


class _Reader:
    def __init__(self, language: Language) -> None:
        self.language = language
        self.numbers: list[str] = []
        self.units: list[str] = []
        self.codes: list[str] = []
        self.quotes: list[str] = []
        self.signs: list[str] = []
        self.shown: list[tuple[str, bool]] = []

    def read(self, text: str) -> Outline:
        text = unicodedata.normalize("NFKC", text.replace("’", "'")).strip()
        text = _BRACKETED.sub(r"\1\2", text)
        self._tokens(text)
        every = self._without_frames()
        words = self._content(self._numbers_out(every))
        said = tuple(word for word, _ in every)
        return Outline(
            words=words,
            joints=_joints(words),
            every=said,
            numbers=tuple(sorted(self.numbers)),
            order=tuple(self.numbers),
            units=tuple(sorted(self.units)),
            codes=tuple(sorted(self.codes)),
            quotes=tuple(sorted(self.quotes)),
            signs=tuple(sorted(self.signs)),
            negated=self._negated(said),
            kind=_kind(said, self.language),
            scripts=_scripts(text),
            past=bool(_PAST.intersection(said)),
        )

    def _tokens(self, text: str) -> None:
        starts = True
        end = 0
        for found in _TOKEN.finditer(text):
            starts = starts or any(mark in ".?!:\n" for mark in text[end : found.start()])
            end = found.end()
            kind, token = found.lastgroup, found.group()
            if kind == "quote":
                self._quote(token)
            elif found.group("number"):
                self._number(found.group("number"), found.group("hung") or "")
            elif kind == "sign":
                self._sign(token)
            else:
                self._word(token, starts)
            starts = False

    def _quote(self, token: str) -> None:
        if token[0] == "`":
            self.codes.append(token.strip("`\n "))
            return
        self._tokens(token[1:-1])
        self.quotes.append(" ".join(_LETTERS.findall(token.lower())))

    def _number(self, number: str, hung: str) -> None:
        if number[0] in "$€£":
            self.units.append(self.language.units[number[0]])
            number = number[1:]
        if number.endswith("%"):
            self.units.append("percent")
        number = number.removesuffix("%")
        if _THOUSANDS.fullmatch(number):
            number = number.replace(",", "")
        hung = hung.lower()
        if hung in _ORDINAL:
            hung = ""
        unit = self.language.units.get(hung.lstrip("-"))
        if unit is not None:
            self.units.append(unit)
        elif hung == "k" and number.isdigit():
            number += "000"
        elif hung:
            self.codes.append(number + hung)
            self.shown.append((f"#{number}{hung}", False))
            return
        self.numbers.append(number)
        self.shown.append((f"#{number}", False))

    def _sign(self, token: str) -> None:
        unit = self.language.units.get(token)
        if unit is not None:
            self.units.append(unit)
        elif token.strip("-/&*!"):
            self.signs.append(token)

    def _word(self, token: str, starts: bool) -> None:
        lower = token.lower()
        if any(mark.isdigit() for mark in token):
            self.codes.append(lower)
            self.shown.append((f"#{lower}", False))
            return
        if token in _ROMAN:
            self.numbers.append(_ROMAN[token])
            self.shown.append((f"#{_ROMAN[token]}", False))
            return
        capital = token[0].isupper() and token != "I"
        name = capital and (not starts or (len(token) > 1 and token.isupper()))
        if token == "US":
            lower = "usa"
        meant = self.language.contractions.get(lower)
        if meant is not None:
            self.shown += [(word, False) for word in meant.split()]
            return
        lower = lower.removesuffix("'s")
        for part in re.split(r"[-/]", lower) if "-" in lower or "/" in lower else (lower,):
            if part:
                self.shown.append((part, name))

    def _without_frames(self) -> list[tuple[str, bool]]:
        frames, openers = _by_first(self.language.frames), _by_first(self.language.openers)
        words, kept, at = self.shown, list[tuple[str, bool]](), 0
        while at < len(words):
            first = words[at][0]
            for frame in (*frames.get(first, ()), *(() if kept else openers.get(first, ()))):
                if all(at + i < len(words) and words[at + i][0] == word for i, word in enumerate(frame)):
                    at += len(frame)
                    break
            else:
                kept.append(words[at])
                at += 1
        asks, intros = self.language.asks, self.language.intros
        followed = {at for at in range(len(kept) - 1) if kept[at + 1][0] in asks}
        return [each for at, each in enumerate(kept) if at not in followed or each[0] not in intros]

    def _numbers_out(self, words: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
        """Put number words among the numbers, units among the units; return the rest."""
        rest, value = list[tuple[str, bool]](), None
        for word, name in words:
            number = self.language.numbers.get(word)
            scale = self.language.scales.get(word)
            if number is not None:
                value = (
                    value + number
                    if value is not None and value >= 20 and number < 10
                    else self._settled(value, number)
                )
            elif scale is not None:
                if value is None and self.numbers and rest and rest[-1][0] == f"#{self.numbers[-1]}":
                    self.numbers[-1] = _scaled(self.numbers[-1], scale)
                    continue
                value = scale if value is None else value * scale
            else:
                value = self._settled(value, None)
                unit = self.language.units.get(word)
                if unit is not None and (len(word) > 1 or self.units or (rest and rest[-1][0].startswith("#"))):
                    self.units.append(unit)
                rest.append((word, name))
        self._settled(value, None)
        return rest

    def _settled(self, value: int | None, following: int | None) -> int | None:
        if value is not None and value != 1:  # "one" is as often no number
            self.numbers.append(str(value))
        return following

    def _content(self, words: list[tuple[str, bool]]) -> tuple[Word, ...]:
        language, made, link, joined = self.language, list[Word](), "", False
        for word, name in words:
            if word[0] == "#":
                link = ""
            elif word in language.joins:
                joined = True
            elif word in language.links:
                link, joined = word, False
            elif word not in language.plain:
                # "between a and b": both hang on the one word, in whichever order they come.
                link = made[-1].link if joined and made and not link else link
                made.append(Word(word, self._meaning(word), name, link))
                link, joined = "", False
        return tuple(made)

    def _meaning(self, word: str) -> str:
        base = stem(word)
        same = self.language.synonyms.get(word) or self.language.synonyms.get(base)
        if same is None and (len(word) > 1 or self.numbers):
            same = self.language.units.get(word)
        return stem(same) if same else base

    def _negated(self, said: tuple[str, ...]) -> bool:
        count = 0
        for at, word in enumerate(said):
            if word in self.language.negations:
                around = (
                    f"{said[at - 1] if at else ''} {word}",
                    f"{word} {said[at + 1] if at + 1 < len(said) else ''}",
                )
                count += not any(each.strip() in self.language.harmless for each in around)
                count -= word == "no" and around[1].startswith("no #")
        return count % 2 == 1


_PAST = frozenset("was were did had".split())


def _scaled(number: str, scale: int) -> str:
    """Return "5" million in digits."""
    try:
        return f"{float(number) * scale:.12g}"
    except ValueError:  # 3:30 million
        return number


@lru_cache(maxsize=32)
def _by_first(frames: tuple[str, ...]) -> dict[str, list[list[str]]]:
    """Return the frames by their first word, the longest first."""
    found: dict[str, list[list[str]]] = {}
    for frame in sorted(frames, key=len, reverse=True):
        words = frame.split()
        found.setdefault(words[0], []).append(words)
    return found


def _joints(words: tuple[Word, ...]) -> dict[str, tuple[Word, ...]]:
    joints: dict[str, tuple[Word, ...]] = {one.text + two.text: (one, two) for one, two in pairwise(words)}
    letters = "".join([word.text[0] for word in words])
    for start in range(len(words) - 1):
        for end in range(start + 2, min(start + 6, len(words)) + 1):
            joints[letters[start:end]] = words[start:end]
    return joints


def _kind(said: tuple[str, ...], language: Language) -> str:
    kinds = dict(language.kinds)
    kind = kinds.get(" ".join(said[:2])) or kinds.get(said[0] if said else "", "")
    return "duration" if kind == "amount" and not language.spans.isdisjoint(said[2:5]) else kind


def _scripts(text: str) -> frozenset[str]:
    if text.isascii():
        return frozenset(("LATIN",))
    names = (unicodedata.name(mark, "").partition(" ")[0] for mark in text if mark.isalpha())
    return frozenset(name for name in names if name in _TAGS)


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """Return what the forms of an English word have in common; crude, as both sides of a pair go through it."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("eed"):
            root = word[: -len(ending)]
            if not any(letter in "aeiouy" for letter in root):
                return word
            if root[-1] == root[-2] and root[-1] not in "lsz":
                return root[:-1]
            return _american(root.removesuffix("e"))
    if len(word) > 3 and word.endswith("s") and word[-2] not in "su" and not word.endswith("is"):
        word = word[:-2] if word.endswith(("ches", "shes", "xes", "sses", "zes")) else word[:-1]
    return _american(word[:-1] if len(word) > 3 and word.endswith("e") else word)


def _american(root: str) -> str:
    return f"{root[:-1]}z" if len(root) > 5 and root.endswith("is") else root
