"""Chunks that are models: recorded in rows, and given back as they were."""

from __future__ import annotations

from functools import cached_property

import msgpack
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, PrivateAttr, RootModel

from aicached import Cache, ai_cached, trace
from aicached.codec.chunks import Chunks
from aicached.codec.classes import Classes
from aicached.codec.values import Undecodable, decode, holding
from tests.streams.conftest import END


class Piece(BaseModel, extra="allow"):
    text: object = None
    more: list[Piece] = []
    _seen: object = PrivateAttr(default=None)


class Words(RootModel[list[str]]):
    pass


class Counted(BaseModel):
    text: str

    @cached_property
    def length(self) -> int:
        return len(self.text)


def state(value):
    """Return all there is of a value, type by type."""
    if isinstance(value, BaseModel):
        beside = (value.__pydantic_fields_set__, state(value.__pydantic_extra__), state(value.__pydantic_private__))
        return type(value), state(value.__dict__), beside
    if isinstance(value, (list, tuple)):
        return type(value), [state(each) for each in value]
    if isinstance(value, dict):
        return dict, [(state(key), state(each)) for key, each in value.items()]
    return type(value), repr(value)


def with_private(text, seen):
    made = Piece(text=text)
    made._seen = seen
    return made


def chunk(number, **said):
    choices = [{"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}]
    return ChatCompletionChunk.construct(
        **{"id": "c", "object": "chat.completion.chunk", "created": number, "model": "m", "choices": choices, **said}
    )


STREAMS = {
    "the same fields": [Piece(text=str(number)) for number in range(5)],
    "fields that are set, and the same ones by default": [Piece(), Piece(text=None), Piece(more=[]), Piece()],
    "types": [Piece(text=each) for each in (1, 1.0, True, "1", b"1", None, float("nan"), -0.0)],
    "what msgpack cannot say, at first": [Piece(text=2**70), Piece(text="\ud800"), Piece(text=1), Piece(text="a")],
    "what msgpack takes for something else": [Piece(text=each) for each in (b"1", bytearray(b"1"), (1,), {2}, 1 + 2j)],
    "further fields": [Piece(text="a", why="b"), Piece(text="a", why=bytearray(b"c")), Piece(text="a", other=None)],
    "private attributes": [with_private("a", None), with_private("b", [1, (2,)]), with_private("c", Piece(text=1))],
    "within one another": [Piece(more=[Piece(text=1), Piece(more=[Piece(), Piece(text=2)])]), Piece(more=[Piece()])],
    "other fields in each": [Piece(**{f"field{number}": number}) for number in range(40)],
    "a root": [Words(["a"]), Words([]), Words(["b", "c"])],
    "among others": ["a", Piece(text="b"), {"c": [Piece(text="d")]}, ("e", Piece(text="f")), 7, Piece(text="g")],
    "of an SDK": [chunk(number) for number in range(4)],
    "of an SDK, as no server should": [
        chunk(1, created=1.0),
        chunk(2, created=True, model=7),
        chunk(3, choices=None, why={"a": [1]}),
        chunk(4, id=None),
        chunk(5, choices=[{"delta": {"content": 5, "reasoning": "hm"}, "index": "0", "finish_reason": "odd"}]),
    ],
}


def function_of(reader, chunks):
    if reader.colour == "sync":

        def ask(prompt):
            yield from chunks
    else:

        async def ask(prompt):
            for each in chunks:
                yield each

    return ask


@pytest.mark.parametrize("chunks", STREAMS.values(), ids=STREAMS)
def test_chunks_come_back_as_they_were_to_all(reader, chunks):
    cache = Cache("memory://", trust=(Piece, Words))
    cached = ai_cached(function_of(reader, chunks), cache=cache, version=1, cache_if=lambda chunks: True)

    async def scenario():
        with trace() as traced:
            first, second = cached("hi"), cached("hi")
            live, joined = [await reader.step(first)], [await reader.step(second)]
            live += await reader.whole(first)
            joined += await reader.whole(second)
            return live, joined, await reader.whole(cached("hi")), traced

    live, joined, replayed, traced = reader.play(scenario)
    assert all(one is other for one, other in zip(chunks, live, strict=True))
    assert state(chunks) == state(joined)
    assert state(chunks) == state(replayed)
    assert traced[-1].hit


def test_a_cached_property_is_left_out_as_in_any_answer(reader):
    chunks = [Counted(text="a"), Counted(text="bc")]
    assert 1 == chunks[0].length
    cached = ai_cached(function_of(reader, chunks), cache=Cache("memory://", trust=(Counted,)), version=1)

    async def scenario():
        await reader.whole(cached("hi"))
        return await reader.whole(cached("hi"))

    assert [{"text": "a"}, {"text": "bc"}] == [vars(each) for each in reader.play(scenario)]


def test_a_chunk_that_its_reader_changes_is_kept_as_it_came(reader):
    chunks = [Piece(text=[number]) for number in range(3)]
    cached = ai_cached(function_of(reader, chunks), cache=Cache("memory://", trust=(Piece,)), version=1)

    async def scenario():
        stream = cached("hi")
        while (got := await reader.step(stream)) != END:
            got.text.append("changed")
            got.extra = 1
        return await reader.whole(cached("hi"))

    assert [[0], [1], [2]] == [each.text for each in reader.play(scenario)]


def test_a_generator_may_return_what_it_has_yielded():
    def ask(prompt):
        yield Piece(text="a")
        return Piece(text="b")

    def whole(stream):
        got = []
        while True:
            try:
                got.append(next(stream))
            except StopIteration as stop:
                return [*got, stop.value]

    cached = ai_cached(ask, cache=Cache("memory://", trust=(Piece,)), version=1)
    assert state([Piece(text="a"), Piece(text="b")]) == state(whole(cached("hi"))) == state(whole(cached("hi")))
    assert 1 == cached.cache_info().hits


def test_what_is_the_same_is_said_once():
    chunks = Chunks(Classes(), set())
    first, *others = (len(chunks.pack(chunk(number))) for number in range(20))
    assert first > 2 * max(others)


@pytest.fixture
def classes():
    return Classes([Piece])


@pytest.mark.parametrize(
    "follows",
    [
        [msgpack.ExtType(31, b"\x00"), {}, None, "too few"],
        [msgpack.ExtType(31, b"\x00"), {}, None, "a", [], "too many"],
        [msgpack.ExtType(31, b"\x00"), 7, None, "a", []],
        [msgpack.ExtType(31, b"\x01"), {}, None, "nobody said what one is", []],
        [msgpack.ExtType(31, msgpack.packb([1, ["os", "PathLike", b""], [], []])), {}, None],
        [msgpack.ExtType(31, msgpack.packb([1, ["builtins", "dict", b""], [], []])), {}, None],
        ["not at the beginning", msgpack.ExtType(31, b"\x00")],
        msgpack.ExtType(31, b"\x00"),
        msgpack.ExtType(31, b""),
    ],
)
def test_a_row_that_is_none_is_a_miss(classes, follows):
    packed = Chunks(classes, {Piece}).pack(Piece(text="a"))
    assert state([Piece(text="a"), 1]) == state(decode(holding(b"\x92" + packed + msgpack.packb(1)), classes))
    with pytest.raises(Undecodable):
        decode(holding(b"\x92" + packed + msgpack.packb(follows)), classes)


def test_a_class_that_is_not_allowed_makes_no_row(classes):
    packed = Chunks(classes, {Piece}).pack(Piece(text="a"))
    with pytest.raises(Undecodable):
        decode(holding(packed), Classes())
