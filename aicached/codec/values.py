"""
A value <-> its payload: msgpack, with an extension type for everything that msgpack cannot say.

Law: a value comes back as exactly what it was, type by type, or is refused when it is stored; a subclass that is not
listed is refused, not flattened. No pickle, no import, no constructor of a foreign class: an object is restored from
its raw state.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgpack
from msgpack import ExtType

from ..errors import UnstorableValue
from ..keys.naming import identity
from ..packing import native
from . import validated
from .classes import Classes, Undecodable, shown
from .listed import BY_CODE, BY_TYPE, INT, PACKED, SETS, STR
from .objects import BY_LETTER, Shape, open_origin, reference, resolve, shape_of
from .rows import ROW, Row, Rows
from .taught import TAUGHT, Teaching, taught_as

__all__ = ["IMMUTABLE", "Undecodable", "decode", "encode", "holding", "holds_objects", "plain", "walked"]

unpackb = msgpack.unpackb
#: Values that need no copy: a hit may hand out the very object.
IMMUTABLE = frozenset((type(None), bool, int, float, str, bytes))
#: Extension types of this walk's own: the head of an object's list, a payload with objects, an answer in short, a type
#: that was taught. The others are in `listed`.
_OBJECT, _OBJECTS, _VALIDATED, _TAUGHT = 0, 26, 27, 28
#: Extension types within one another. msgpack unpacks each level with 40 KB of the C stack, and a thread has 8 MB.
_DEPTH = 64


def encode(value: Any, classes: Classes, seen: set[type] | None = None, rows: Rows | None = None) -> bytes:
    """
    Return the payload of *value*.

    Args:
        classes: what decoding will be allowed to make.
        seen: gets the classes whose objects are in the value.
        rows: those of the tape whose chunk it is; what is packed belongs into `holding`.

    Raises:
        UnstorableValue: something in it would not come back as it was.
    """
    if (rows is None or type(value) is dict) and (packed := plain(value)) is not None:
        return packed
    return walked(value, classes, set() if seen is None else seen, rows)


def walked(value: Any, classes: Classes, seen: set[type], rows: Rows | None = None) -> bytes:
    """Do as `encode`, where it is known that msgpack cannot say the value by itself."""
    try:
        encoder = _Encoder(classes, seen, rows)
        return encoder.whole(value) if rows is None else encoder.payload(value)
    except UnstorableValue:
        raise
    except RecursionError:
        raise UnstorableValue("a value nested too deep, or in a circle") from None
    except Exception as error:  # foreign code: a property, a __getattr__
        raise UnstorableValue(f"a value that raised {type(error).__name__} when looked at") from error


def holding(packed: bytes) -> bytes:
    """Return the payload of something packed in which objects may be."""
    return native(ExtType(_OBJECTS, packed))


def plain(value: Any) -> bytes | None:
    """
    Pack what msgpack can say by itself, without walking through it; None where it is not sure to come back the same.

    The strict packer refuses every type that is not exactly one of its own, but for two ways to lose one: a bytearray
    comes back as bytes, and an extension type says anything. So what may hold bytes or extensions is walked through.
    """
    try:
        packed: bytes = native(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return packed if len(packed.translate(None, _MARKS)) == len(packed) else None


#: First bytes of what msgpack calls bin and ext; text and numbers may hold them too, and are walked through then.
_MARKS = bytes((*range(0xC4, 0xCA), *range(0xD4, 0xD9)))


def decode(payload: bytes, classes: Classes, rows: Rows | None = None) -> Any:
    """
    Return the value of a payload.

    Args:
        payload: the bytes.
        classes: what may be made.
        rows: those of the tape whose chunk it is; None = it is whole.

    Raises:
        Undecodable: the bytes are damaged, or name a class that *classes* does not allow.
    """
    try:
        if rows is not None:
            payload = holding(payload)
        if payload[0] not in _TYPE_AT:
            return unpackb(payload, ext_hook=_not_plain, strict_map_key=False)  # as almost all are
    except _NotPlain:
        pass
    except Exception as error:
        raise Undecodable(type(error).__name__) from error
    return _decoded(payload, _Decoder(classes, rows))


def _decoded(payload: bytes, decoder: _Decoder) -> Any:
    """Return the value of a payload that has more in it than msgpack's own types."""
    try:
        at = _TYPE_AT.get(payload[0])
        if at is not None and payload[at] == _VALIDATED:  # the usual answer of an SDK, spared a second unpacking
            return decoder.answer(memoryview(payload)[at + 1 :])
        value = unpackb(payload, ext_hook=decoder.hook, strict_map_key=False)
    except Undecodable:
        raise
    except Exception as error:
        raise Undecodable(type(error).__name__) from error
    if decoder.waiting:
        raise Undecodable("the name of a class without an object")
    return value


class _NotPlain(Exception):
    """Say that there is more in a payload than msgpack's own types."""


def _not_plain(*_: Any) -> Any:
    raise _NotPlain


def holds_objects(payload: bytes) -> bool:
    """Will decoding *payload* make objects of some class?"""
    if payload[:1] not in _EXTENDED:
        return False
    at = _TYPE_AT.get(payload[0]) if len(payload) > 5 else None
    return at is not None and payload[at] in (_OBJECTS, _VALIDATED)


#: First byte of an extension type in msgpack -> where its code stands.
_TYPE_AT = {0xC7: 2, 0xC8: 3, 0xC9: 5}
_EXTENDED = frozenset(bytes((first,)) for first in _TYPE_AT)


class _Encoder:
    def __init__(self, classes: Classes, seen: set[type], rows: Rows | None) -> None:
        self.classes = classes
        self.seen = seen
        self.rows = rows
        self.careful = False
        self.inside = False
        self.depth = 0

    def whole(self, value: Any) -> bytes:
        """Pack a value; one with objects in it is wrapped, so that plain ones are decoded without looking for them."""
        packed = self.payload(value)
        return holding(packed) if self.seen and not holds_objects(packed) else packed

    def payload(self, value: Any) -> bytes:
        """Pack at msgpack's speed; what it cannot say (long integers, lone surrogates) is spelled on a second walk."""
        try:
            return native(self.tree(value))
        except (OverflowError, UnicodeEncodeError):
            self.careful = True
            return native(self.tree(value))
        except ValueError:
            raise UnstorableValue("a value nested too deep") from None

    def tree(self, value: Any) -> Any:
        """Return *value* as msgpack can say it."""
        kind = type(value)
        if kind in IMMUTABLE:
            return self._spelled(value) if self.careful else value
        if kind is list:
            return [self.tree(item) for item in value]
        if kind is dict:
            return {self.tree(key): self.tree(item) for key, item in value.items()}
        if self.rows is not None and (row := self.rows.find(value, kind, self._allowed)) is not None:
            return self._row(value, kind, row)
        known = BY_TYPE.get(kind)
        if known is not None:
            code, take = known
            return ExtType(code, self.deeper(take(value)))
        return self._object(value, kind)

    def deeper(self, value: Any) -> bytes:
        """Pack what goes into an extension type; two levels are left for the two that may stand around it all."""
        self.depth += 1
        if self.depth > _DEPTH // 2 - 2:
            raise UnstorableValue("a value nested too deep")
        packed = self.payload(value)
        self.depth -= 1
        return packed

    def _spelled(self, value: Any) -> Any:
        if type(value) is int and not -(2**63) <= value < 2**64:
            return ExtType(INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
        if type(value) is str:
            try:
                value.encode()
            except UnicodeEncodeError:
                return ExtType(STR, value.encode("utf-8", "surrogatepass"))
        return value

    def _object(self, value: Any, kind: type) -> Any:
        if kind in SETS:  # in the order of their packed elements, since their own depends on history
            return ExtType(SETS[kind], native([ExtType(PACKED, item) for item in sorted(map(self.deeper, value))]))
        if (teaching := TAUGHT.get(kind)) is not None:
            return self._taught(value, teaching)
        shape = shape_of(kind)
        if shape is None:
            raise UnstorableValue(f"a {shown(kind)} would not come back as it was")
        if self.inside or self.rows or shape.letter != "p" or (name := validated.name_of(kind)) is None:
            return self._state(value, kind, shape)
        return self._answer(value, kind, shape, native(name))

    def _row(self, value: Any, kind: type, row: Row) -> list[Any]:
        """Return a list that begins with an extension type: no list of a caller's does."""
        self.seen.add(kind)
        mark, values = row.short if row.told else row.full, value.__dict__.values()
        items = [mark, value.__pydantic_extra__, value.__pydantic_private__, *values]
        if self.careful:
            items[1:] = map(self.tree, items[1:])
            return items
        if items[1] or items[2]:
            items[1:3] = map(self.tree, items[1:3])
        kinds = (*map(type, values),)
        if kinds != row.kinds:
            row.kinds, row.deep = kinds, [at for at, each in enumerate(kinds, 3) if each not in IMMUTABLE]
        for at in row.deep:
            items[at] = self.tree(items[at])
        return items

    def _state(self, value: Any, kind: type, shape: Shape) -> list[Any]:
        """Return a list like that of a row, with the class's name in each."""
        name, _ = self._allowed(kind)
        self.seen.add(kind)
        return [ExtType(_OBJECT, native([shape.letter, name])), self.tree(shape.state(value))]

    def _allowed(self, kind: type) -> tuple[Any, type]:
        """Return what names a class, and the class that this gives again."""
        name = reference(kind)
        allowed = resolve(name, self.classes)
        if allowed is None or allowed not in (kind, open_origin(kind)):
            raise UnstorableValue(
                f"a {shown(kind)} may not be made when decoding: annotate the function's result with it, "
                f"or name it in Cache(trust=({kind.__name__},))"
            )
        return name, allowed

    def _answer(self, value: Any, kind: type, shape: Shape, name: bytes) -> Any:
        """Return an SDK's answer in short where it would come back the same, else its state."""
        self.inside = True
        try:
            if (brief := self._brief(value, kind, name)) is not None:
                return ExtType(_VALIDATED, brief)
            short = self._short(value, name)
            if short is None:
                return self._state(value, kind, shape)
            try:
                made = _Decoder(self.classes).answer(short)
            except Exception:  # the SDK's validator wants something else than what its server has said
                return self._state(value, kind, shape)
            if validated.alike(value, made):
                self.seen.add(kind)
                return ExtType(_VALIDATED, short)
            state = self._state(value, kind, shape)
            same = type(made) is kind and native(self._state(made, kind, shape)) == native(state)
            return ExtType(_VALIDATED, short) if same else state
        finally:
            self.inside = False

    def _brief(self, value: Any, kind: type, name: bytes) -> bytes | None:
        """Return the short form by the quick way, None where that does not give the same again."""
        said = validated.quick(value)
        if said is None:
            return None
        try:
            brief: bytes = native([name, *said])
            made = _Decoder(self.classes).answer(brief)
        except Exception:  # an enum, a moment, a long integer: the thorough way spells them
            return None
        if not validated.alike(value, made):
            return None
        self.seen.add(kind)
        return brief

    def _short(self, value: Any, name: bytes) -> bytes | None:
        try:
            said = validated.spelled(value)
        except validated.NotPlain:
            return None
        if not self.careful:
            with suppress(TypeError):  # a moment in it, which msgpack cannot say
                return native([name, *said])
        return native([name, *self.tree(said)])

    def _taught(self, value: Any, teaching: Teaching) -> ExtType:
        """Take a value apart as its type was taught, and see whether what is put together again gives the same."""
        parts = self.deeper(teaching.encode(value))
        decoder = _Decoder(self.classes, self.rows)
        decoder.lists = decoder.listed
        made = teaching.decode(decoder.unpack(parts))
        if type(made) is not teaching.kind or self.payload(teaching.encode(made)) != parts:
            raise UnstorableValue(f"a {shown(teaching.kind)} does not come back as it was from register_value's decode")
        return ExtType(_TAUGHT, native([*identity(teaching.kind), ExtType(PACKED, parts)]))


class _Maker:
    """Make objects of one class from their states."""

    __slots__ = ("cls", "restore")

    def __init__(self, cls: type, restore: Callable[[type, Any], Any]) -> None:
        self.cls = cls
        self.restore = restore


class _Decoder:
    __slots__ = ("classes", "depth", "lists", "rows", "waiting")

    def __init__(self, classes: Classes, rows: Rows | None = None) -> None:
        self.classes = classes
        self.rows = rows
        self.lists: Callable[[list[Any]], Any] | None = None
        self.depth = 0
        #: Makers that were read and have made nothing yet.
        self.waiting = 0

    def hook(self, code: int, data: bytes) -> Any:
        if code == ROW:
            self.waiting += 1
            return self._row(data)
        if code == _VALIDATED:
            return self.answer(data)
        if code == _OBJECT:
            self.waiting += 1
            return self.classes.makers.get(data) or self._maker(data)
        if code == _OBJECTS:
            self.lists = self.listed
            return self.unpack(data)
        if code == _TAUGHT:
            return self._taught(self.unpack(data))
        make = BY_CODE.get(code)
        if make is None:
            raise Undecodable(f"unknown extension type {code}")
        return make(data if code in (INT, STR) else self.unpack(data))

    def unpack(self, data: bytes) -> Any:
        self.depth += 1
        if self.depth > _DEPTH:
            raise Undecodable("nested too deep")
        value = msgpack.unpackb(data, ext_hook=self.hook, list_hook=self.lists, strict_map_key=False)
        self.depth -= 1
        return value

    def answer(self, data: bytes | memoryview) -> Any:
        """Make an SDK's answer that was written in short."""
        name, plain, notes, loose = msgpack.unpackb(data, ext_hook=_plain_hook, strict_map_key=False)
        makers = self.classes.answers
        make = makers.get(name)
        if make is None:
            make = makers[name] = validated.maker(msgpack.unpackb(name), self.classes)
        made = make(plain)
        return validated.finished(made, notes, loose) if notes or loose else made

    def _row(self, mark: bytes) -> Row:
        if self.rows is None:
            self.rows = Rows()
        return self.rows.by_mark.get(mark) or self.rows.read(mark, self.classes)

    def _maker(self, data: bytes) -> _Maker:
        letter, name = msgpack.unpackb(data)
        cls = resolve(name, self.classes)
        if cls is None:
            raise Undecodable(f"class {name!r} is not allowed")
        shape = BY_LETTER[letter]
        if shape_of(cls) is not shape:  # a flag's restore, say, would run the constructor of any other class
            raise Undecodable(f"class {name!r} is of another kind")
        maker = self.classes.makers[data] = _Maker(cls, shape.restore)
        return maker

    def listed(self, items: list[Any]) -> Any:
        """Make the object that a list stands for where it begins with a maker: `_Encoder` alone puts one there."""
        if items:
            kind = items[0].__class__
            if kind is Row:
                self.waiting -= 1
                return items[0].made(items)
            if kind is _Maker:
                self.waiting -= 1
                maker, state = items
                return maker.restore(maker.cls, state)
        return items

    def _taught(self, parts: Any) -> Any:
        module, qualname, inner = parts
        teaching = taught_as((module, qualname))
        if teaching is None:
            raise Undecodable(f"a {qualname} that nobody has taught")
        return teaching.decode(inner)


def _plain_hook(code: int, data: bytes) -> Any:
    """Return what may stand in an answer in short beside msgpack's own: numbers, texts, moments and their zones."""
    if code in (INT, STR):
        return BY_CODE[code](data)
    if code not in _MOMENTS:
        raise Undecodable(f"an extension type {code} in an answer")
    return BY_CODE[code](msgpack.unpackb(data, ext_hook=_plain_hook))


#: Codes of date, datetime, timedelta, timezone.
_MOMENTS = (13, 15, 16, 17)
