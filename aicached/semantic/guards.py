"""
What speaks against a near text although it is near: named rules over two outlines.

Law: a guard is a pure function of a pair and never raises. It may only forbid: what no guard speaks against still has
to be near enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from .english import ENGLISH
from .language import Language
from .outline import Outline, Word, outline, stem

#: Words of a substitution, at most; more is another sentence.
_SLOT = 3
#: Words of a sentence in which any other word makes another question; in longer ones there is more to go by.
_SHORT = 10

__all__ = ["GUARDS", "Pair", "objections", "pair_of", "says_more"]


class Pair(NamedTuple):
    """
    Hold two outlines, and what is in one of them alone.

    Args:
        new, old: of the text that asks, and of the stored one.
        more, less: words that only the new one has, and only the old one.
        language: whose tables count.
    """

    new: Outline
    old: Outline
    more: tuple[Word, ...]
    less: tuple[Word, ...]
    language: Language


def pair_of(new: str, old: str, language: Language = ENGLISH) -> Pair:
    """Return what the guards look at."""
    first, second = outline(new, language), outline(old, language)
    more, less = _unmatched(first, second, language)
    return Pair(first, second, more, less, language)


def objections(pair: Pair, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of those guards that speak against a pair, of the ones named."""
    return tuple(name for name in names if GUARDS[name](pair))


def _unmatched(new: Outline, old: Outline, language: Language) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    more, less = _beyond(new.words, old.words), _beyond(old.words, new.words)
    for word in tuple(more) if less else ():
        same = next((each for each in less if _alike(word.text, each.text, language)), None)
        if same is not None:
            more.remove(word)
            less.remove(same)
    for words, joints, own in ((more, old.joints, less), (less, new.joints, more)):
        for word in tuple(words):
            parts = joints.get(word.text)
            if parts is not None:
                words.remove(word)
                own[:] = [each for each in own if each not in parts]
    return tuple(more), tuple(less)


def _beyond(words: tuple[Word, ...], others: tuple[Word, ...]) -> list[Word]:
    stems = {word.stem for word in others}
    return [word for word in words if word.stem not in stems]


@lru_cache(maxsize=16384)
def _alike(one: str, other: str, language: Language) -> bool:
    """Are two words forms of one, or one of them a misspelling of the other?"""
    if one[0] != other[0] or abs(len(one) - len(other)) > 5 or frozenset((one, other)) in language.confusable:
        return False
    return not _roots(one).isdisjoint(_roots(other)) or _misspelled(one, other)


_ENDINGS = tuple(
    "s e es d ed ing er ers or ors est ion ions ation ations ment ments ly al ally y ies ize ise ized ised ance ence "
    "ce "
    "ant ent t cy ancy ency able ible ity ness ful ic ical r rs n an ian ians ns ese ish".split()
)


@lru_cache(maxsize=16384)
def _roots(word: str) -> frozenset[str]:
    """Return what may be left of a word without an ending, five letters or more."""
    return frozenset(
        (word, *(word[: -len(end)] for end in _ENDINGS if word.endswith(end) and len(word) >= len(end) + 5))
    )


def _misspelled(one: str, other: str) -> bool:
    """Do they differ in two letters that changed places, in a doubled letter, or (long ones) in one left out?"""
    if len(one) == len(other):
        at = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
        swapped = len(at) == 2 and at[1] == at[0] + 1 and one[at[0]] == other[at[1]] and one[at[1]] == other[at[0]]
        return swapped and len(one) >= 4
    short, long = sorted((one, other), key=len)
    if len(long) != len(short) + 1 or len(long) < 5:
        return False
    gap = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if short[gap:] != long[gap + 1 :]:
        return False
    return gap > 0 and (long[gap] == long[gap - 1] or (len(long) >= 6 and gap < len(short)))


def says_more(pair: Pair) -> bool:
    """Is one of them the other with a few words put in: "raw eggs", "work visa"?"""
    new, old = _plain(pair.new, pair.language), _plain(pair.old, pair.language)
    if (pair.more and pair.less) or max(len(pair.more), len(pair.less)) > _SLOT:
        return False
    put_in = new ^ old
    if not put_in.isdisjoint(pair.language.asks):
        return False
    within = (not pair.less and old <= new) or (not pair.more and new <= old)
    return within and bool(pair.more or pair.less or put_in)


def _plain(outline: Outline, language: Language) -> set[str]:
    """Return the words without content that say something all the same: "how", "best", "work"."""
    silent = language.light | language.links | language.joins | language.fillers
    return {word for word in outline.every if word in language.plain} - silent


# Guards --------------------------------------------------------------------------------------------------------------


def _number(pair: Pair) -> bool:
    new, old = pair.new.numbers, pair.old.numbers
    return new != old and _without_one(pair.new) != _without_one(pair.old)


def _without_one(outline: Outline) -> tuple[str, ...]:
    """Return the numbers but for a single one, which is as often written as a word that is no number."""
    numbers = outline.numbers
    return numbers if numbers != ("1",) else ()


def _unit(pair: Pair) -> bool:
    new, old = Counter(pair.new.units), Counter(pair.old.units)
    return bool(new - old) and bool(old - new)


def _identifier(pair: Pair) -> bool:
    return pair.new.codes != pair.old.codes


def _negation(pair: Pair) -> bool:
    return pair.new.negated != pair.old.negated


def _opposite(pair: Pair) -> bool:
    new, old, opposites = pair.new.every, pair.old.every, pair.language.opposites
    # Counted, as "turn on ... on save" and "turn off ... on save" both have an "on".
    more = {word for word in new if word in opposites and new.count(word) > old.count(word)}
    less = {word for word in old if word in opposites and old.count(word) > new.count(word)}
    return any(not opposites[word].isdisjoint(less) for word in more if word in opposites) or any(
        _turned(one.text, other.text, pair.language) for one in pair.more for other in pair.less
    )


@lru_cache(maxsize=16384)
def _turned(one: str, other: str, language: Language) -> bool:
    short, long = sorted((one, other), key=len)
    for prefix in language.prefixes:
        if long.startswith(prefix) and len(short) > 3 and stem(long[len(prefix) :]) == stem(short):
            return True
    for ending, counter in language.endings:
        root = short.removesuffix(counter) if short.endswith(counter) else None
        if long.endswith(ending) and long.removesuffix(ending) == root:
            return True
    return False


def _name(pair: Pair) -> bool:
    """Has each a name of its own, or one of them in place of something else? One that only adds a name may be meant."""
    return bool(pair.more and pair.less) and any(word.name for word in (*pair.more, *pair.less))


def _direction(pair: Pair) -> bool:
    return _relinked(pair) or _exchanged(pair) or _reordered(pair)


def _relinked(pair: Pair) -> bool:
    """Does a linking word point at another of the words, which are the same in both texts?"""
    if pair.more or pair.less:
        return False
    new, old = _linked(pair.new), _linked(pair.old)
    stems = {word.stem for word in pair.new.words} & {word.stem for word in pair.old.words}
    for link in new.keys() & old.keys():
        more, less = new[link] - old[link], old[link] - new[link]
        if more and less and more <= stems and less <= stems:
            return True
    return False


def _linked(outline: Outline) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for word in outline.words:
        if word.link:
            found.setdefault(word.link, set()).add(word.stem)
    return found


def _exchanged(pair: Pair) -> bool:
    """Are the words the same, but for two phrases that changed places around a third?"""
    links = pair.language.links
    skipped, joins = pair.language.light | pair.language.asks, pair.language.joins
    new, old = ([stem(word) for word in each.every if word not in skipped] for each in (pair.new, pair.old))
    if len(new) != len(old) or new == old or sorted(new) != sorted(old):
        return False
    start = next(at for at, (a, b) in enumerate(zip(new, old, strict=True)) if a != b)
    end = next(at for at, (a, b) in enumerate(zip(reversed(new), reversed(old), strict=True)) if a != b)
    new, old = new[start : len(new) - end], old[start : len(old) - end]
    for first in range(1, len(new) - 1):
        for last in range(first + 1, len(new)):
            before, between, after = new[:first], new[first:last], new[last:]
            if old != after + between + before or not joins.isdisjoint(between):
                continue
            if before[0] in links and after[0] in links:  # "in Spain during the war": both took along what they hang on
                continue
            return True
    return False


def _reordered(pair: Pair) -> bool:
    """Are the numbers the same, in another order among the same words?"""
    new, old = pair.new.order, pair.old.order
    return new != old and sorted(new) == sorted(old) and not (pair.more or pair.less)


def _substitution(pair: Pair) -> bool:
    """Are they one sentence, but for words that each has in the other's place?"""
    more, less = pair.more, pair.less
    if not (more or less) or max(len(more), len(less)) > _SLOT:
        return False
    new, old = set(_frame(pair.new, more, pair.language)), set(_frame(pair.old, less, pair.language))
    if len(more) == len(less) == 1 and new != old:
        # Another verb may bring another preposition: "hedge against", "profit from".
        links = {stem(word) for word in pair.language.links}
        new, old = new - links, old - links
    if more and less:
        return new == old and (_hangs(more, less) or max(len(pair.new.every), len(pair.old.every)) <= _SHORT)
    # The other's word in that place may be one that carries no content elsewhere: "in Go", "in the US".
    own = old - new if more else new - old
    return len(new ^ old) == 1 and any(
        _stands_as_name(word, pair.old if more else pair.new, pair.language) for word in own
    )


def _hangs(more: tuple[Word, ...], less: tuple[Word, ...]) -> bool:
    """Is what was replaced what the sentence is about: a name, or what a linking word points at?"""
    return bool(more[0].link and less[0].link) or (more[0].name and less[0].name)


def _stands_as_name(base: str, outline: Outline, language: Language) -> bool:
    """Does a word that usually carries no content follow a linking word or an article?"""
    return base not in language.links and any(
        stem(word) == base and (before in language.links or before in language.articles)
        for before, word in pairwise(outline.every)
    )


def _frame(outline: Outline, own: tuple[Word, ...], language: Language) -> list[str]:
    """Return the words of a text without those that it has alone, and without articles, pronouns and auxiliaries."""
    left = {word.text for word in own}
    return [stem(word) for word in outline.every if word not in left and word not in language.light]


def _kind(pair: Pair) -> bool:
    new, old = pair.new.kind, pair.old.kind
    return bool(new and old) and new != old


def _quotation(pair: Pair) -> bool:
    new, old = pair.new.quotes, pair.old.quotes
    return (bool(new and old) and new != old) or pair.new.signs != pair.old.signs


def _script(pair: Pair) -> bool:
    return pair.new.scripts != pair.old.scripts


def _form(pair: Pair) -> bool:
    forms = pair.language.forms
    return any(word.text in forms for word in (*pair.more, *pair.less))


def _moment(pair: Pair) -> bool:
    moments = pair.language.moments
    new, old = moments.intersection(pair.new.every), moments.intersection(pair.old.every)
    return bool(new and old) and new != old


def _addition(pair: Pair) -> bool:
    """Does one of them go on where the other ends, with a condition that hangs on a linking word?"""
    if bool(pair.more) == bool(pair.less):
        return False
    own = pair.more or pair.less
    long, short = (pair.new, pair.old) if pair.more else (pair.old, pair.new)
    if not own[0].link or own[-1].text != long.every[-1]:
        return False
    beyond = set(_frame(long, own, pair.language)) ^ set(_frame(short, (), pair.language))
    return beyond <= {stem(link) for link in pair.language.links}


GUARDS: dict[str, Callable[[Pair], bool]] = {
    "number": _number,
    "unit": _unit,
    "identifier": _identifier,
    "negation": _negation,
    "opposite": _opposite,
    "name": _name,
    "direction": _direction,
    "substitution": _substitution,
    "addition": _addition,
    "kind": _kind,
    "form": _form,
    "moment": _moment,
    "quotation": _quotation,
    "script": _script,
}
