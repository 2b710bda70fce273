"""
What becomes of an answer that was paid for: is it kept, for how long, and in which form.

Law: nothing here breaks a call. A callback of the user's that raises, or a value that would not come back as it was,
is a word in the status, one warning, and a count.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from . import providers
from .call import MISSES, Call
from .codec.classes import Classes
from .codec.envelope import new_version
from .codec.values import IMMUTABLE, Undecodable, decode, encode, plain, walked
from .entry import Entry, Meta
from .errors import ConfigurationError, UnstorableValue
from .keys.keyer import WORDS
from .packing import packing
from .policy import jittered
from .savings import usage_of
from .status import Usage
from .tape import Replay, Tape, rewound

__all__ = ["entry_of", "measure", "note", "objection", "payload_of", "shared", "stream_entry", "value_of"]


#: Types of most answers, which are nothing to await.
_VALUES = IMMUTABLE | {dict, list}
_packed = packing(unicode_errors="surrogatepass")


def note(call: Call) -> None:
    """
    Digest the parts of the key, for those who ask why a call misses.

    This is done before the origin runs, which may change its arguments; what cannot be told is left out.
    """
    facts = call.facts
    try:
        parts = {} if call.lane is None else facts.keyer.parts(call.lane, call.digest, *call.keyed)
    except Exception:
        parts = {}
    call.parts = _packed(parts)
    if facts.keep_arguments:
        with suppress(Exception):
            call.shown = _packed(facts.keyer.shown(*call.keyed[:3]))
    if not facts.streak.over and call.fwd in {"uri-miss", "stale"}:
        _watch(call, parts)


def measure(call: Call, value: Any) -> None:
    """Note on the call what the answer cost."""
    facts = call.facts
    try:
        call.usage = _in_numbers(usage_of(value, call.current.seen, facts.policy.usage, facts.prices))
    except Exception as error:
        facts.warn("usage", "%s: usage= raised %s; the call is not counted", facts.name, type(error).__name__)


def _in_numbers(usage: Usage | None) -> Usage | None:
    """Return a usage that can be added up and stored, whatever kinds of numbers it came in."""
    if usage is None:
        return None
    cost = None if usage.cost is None else float(usage.cost)
    if cost is not None and not math.isfinite(cost):
        raise ValueError("a cost that is no number")
    model = usage.model if type(usage.model) is str else None
    return Usage(model, int(usage.tokens_in), int(usage.tokens_out), cost)


def entry_of(call: Call, value: Any, now: float, tape: Callable[[], bytes] | None = None) -> Entry | None:
    """
    Return what to store; None, and the reason on the call, where the rules say no.

    Args:
        value: the answer; of a stream, the list of its chunks.
        tape: () -> the payload of a stream.
    """
    try:
        return _entry(call, value, now, tape)
    except UnstorableValue as error:
        call.refuse("unstorable")
        call.facts.warn("unstorable", "%s: not stored, %s", call.facts.name, error)
    except Exception as error:
        call.refuse(f"{type(error).__name__} while keeping")
        call.facts.warn("keep", "%s: not stored, keeping it raised %s", call.facts.name, type(error).__name__)
    return None


def _entry(call: Call, value: Any, now: float, tape: Callable[[], bytes] | None) -> Entry | None:
    why = _refusal(call, value) if call.mode.stores else None
    try:
        why = _encode(call, value, now, tape) or why
    except UnstorableValue:
        if why is None:
            raise
    if why is not None and call.mode.stores:
        call.refuse(why)
    if why is not None or not call.mode.stores:
        return None
    ttl, windows = _lifetime(call, value), call.facts.policy.windows
    if ttl is not None and ttl <= 0 and not (ttl == 0 and any(windows)):
        call.refuse("ttl=0")
        return None
    assert call.made is not None
    _, kind, payload, whole = call.made
    return Entry(new_version(), now, ttl, windows, kind, _meta(call), payload, whole)


def _encode(call: Call, value: Any, now: float, tape: Callable[[], bytes] | None) -> str | None:
    """Encode the answer, kept or not, for those who waited for it; return why it is too large to be kept."""
    kind = "value" if tape is None else "stream"
    payload = payload_of(value, call.allowed, call.facts.verified) if tape is None else tape()
    call.made = now, kind, payload, (value,) if type(value) in IMMUTABLE else ()
    return "too large" if len(payload) > call.facts.max_value_bytes else None


def shared(call: Call) -> Entry | None:
    """Return what those get who waited for a call: what was stored or found, or an answer that was not kept."""
    if call.entry is not None or call.made is None:
        return call.entry
    now, kind, payload, whole = call.made
    meta = Meta(call.facts.name, [], call.facts.rules, call.origin_seconds, call.usage)
    return Entry(new_version(), now, 0.0, (0.0, 0.0), kind, meta, payload, whole)


def _refusal(call: Call, value: Any) -> str | None:
    if type(value) not in _VALUES and inspect.isawaitable(value):
        call.facts.warn(
            "colour", "%s returned something to await, not cached: say colour='async' if it is async", call.facts.name
        )
        return "awaitable"
    if call.current.skipped is not None:
        return call.current.skipped
    return "arguments-changed" if call.changed else objection(call, value)


def objection(call: Call, value: Any) -> str | None:
    """Return why the rules speak against an answer, None where they do not; a ``cache_if=`` that raises does."""
    facts, seen = call.facts, call.current.seen
    if isinstance(value, Replay):
        value, seen = value.chunks, providers.watched(value.chunks)
    try:
        return facts.policy.objection(value, seen)
    except Exception as error:
        facts.warn("cache_if", "%s: not stored, cache_if= raised %s", facts.name, type(error).__name__)
        return f"cache_if raised {type(error).__name__}"


def _lifetime(call: Call, value: Any) -> float | None:
    facts = call.facts
    try:
        ttl = facts.policy.lifetime(value, call.current.ttl)
    except Exception as error:
        bad = isinstance(error, ConfigurationError)  # whose text would quote what a callback returned
        why = "its ttl is no duration" if bad else f"ttl raised {type(error).__name__}"
        facts.warn("ttl", "%s: not stored, %s", facts.name, why)
        return -1.0
    if ttl is not None and ttl <= 0 and callable(facts.policy.ttl) and not any(facts.policy.windows):
        facts.warn("ttl", "%s: ttl= returned None or 0, so the answer is not stored", facts.name)
    return jittered(ttl, random.random())


def payload_of(value: Any, allowed: Callable[[], Classes], verified: set[type]) -> bytes:
    """
    Encode, and see once for each class whether what was decoded gives the same bytes.

    Args:
        allowed: () -> what may be made when decoding; it is not asked where a value holds no objects.
        verified: the classes that were seen to; gets those of this value.

    Raises:
        UnstorableValue: something in it would not come back as it was.
    """
    packed = plain(value)
    if packed is not None:
        return packed
    classes, seen = allowed(), set[type]()
    payload = walked(value, classes, seen)
    if not seen <= verified:
        try:
            same = encode(decode(payload, classes), classes) == payload
        except Undecodable:
            same = False
        if not same:
            raise UnstorableValue(f"a {type(value).__name__} does not come back as it was")
        verified.update(seen)
    return payload


def stream_entry(call: Call, tape: Tape, payload: Callable[[], bytes], now: float) -> Entry | None:
    """Return what to store of a stream that is over; None, and the reason on the call, where the rules say no."""
    policy = call.facts.policy
    asked = (policy.cache_if, policy.usage, *(ttl for ttl in (policy.ttl, call.current.ttl) if callable(ttl)))
    why = tape.why
    # The chunks are put together only for those who ask for them.
    chunks = tape.copies() if why is None and any(asked) else []
    measure(call, chunks)
    if why is None:
        return entry_of(call, chunks, now, payload)
    if call.mode.stores:
        call.refuse(why.partition(":")[0])
    if why.startswith("unstorable: "):
        call.facts.warn("unstorable", "%s: not stored, %s", call.facts.name, why.partition(": ")[2])
    return None


def value_of(call: Call, entry: Entry) -> Any:
    """
    Return the value of an entry, or the `Replay` of a stream.

    Raises:
        Undecodable: it cannot be had, or is none of this function's.
    """
    if entry.kind == "stream":
        return rewound(entry.payload, call.classes, call.facts.policy.replay_delay)
    if call.facts.streams:
        raise Undecodable("no stream")
    return entry.whole[0] if entry.whole else decode(entry.payload, call.classes_of(entry))


def _meta(call: Call) -> Meta:
    facts = call.facts
    if call.parts is None:  # an answer that was put here
        note(call)
    stamps = [stamp for stamp in call.stamps or () if stamp is not None]
    names = tuple(sorted({*call.names, *call.current.tags}))
    scope = b"".join(call.places[1:])
    about = (facts.name, stamps, facts.rules, call.origin_seconds, call.usage, names, scope)
    return Meta(*about, call.parts or b"", call.shown)


def _watch(call: Call, parts: Mapping[str, bytes]) -> None:
    """Warn once of an argument that is new in each of many misses, and so keeps every call from hitting."""
    facts, keyer = call.facts, call.facts.keyer
    if facts.counts.hits:
        facts.streak.end()
        return
    others = {*WORDS, *keyer.fingerprint.view.followed}  # the fingerprint warns of its own
    found = facts.streak.missed({name: digest for name, digest in parts.items() if name not in others})
    names = tuple(name.removeprefix("argument ") for name in found)
    if not names:
        return
    if keyer.chosen:
        facts.warn("streak", "%s: %d misses without a hit; what key= returned was new each time", facts.name, MISSES)
        return
    facts.warn(
        "streak",
        "%s: %d misses without a hit; new each time: %s. "
        "Leave out of the key what does not change the answer: ignore=%r",
        facts.name,
        MISSES,
        ", ".join(names),
        names,
    )
