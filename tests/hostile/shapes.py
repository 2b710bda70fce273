"""One value of each kind that can be stored, and the classes that reading them may make."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import pathlib
import typing
import uuid
import zoneinfo
from decimal import Decimal
from fractions import Fraction

import pydantic

from aicached.codec.classes import Classes


class Colour(enum.Enum):
    RED = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(typing.NamedTuple):
    x: int
    y: typing.Any = 0


@dataclasses.dataclass
class Plain:
    name: str
    inner: typing.Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    name: str


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    inner: typing.Any = None
    _private: str = pydantic.PrivateAttr("p")


T = typing.TypeVar("T")


class Box(pydantic.BaseModel, typing.Generic[T]):
    content: T


class Root(pydantic.RootModel[list[int]]):
    pass


def classes():
    return Classes([Colour, Rights, Point, Plain, Slotted, Model, Box, Box[int], Root])


MOMENT = datetime.datetime(2024, 10, 27, 2, 30, 1, 5, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Zurich"))
VALUES = {
    "plain": {"text": "hi", "n": [1, -1, 1.5, True, None, b"bytes"], "deep": {"a": {"b": []}}, 1: 2},
    "text": "The capital of France is Paris. \N{WHITE SMILING FACE}",
    "long integers": [2**70, -(2**63) - 1, 2**64 - 1],
    "lone surrogates": {"\ud800": "\udfff"},
    "numbers": [complex(1, -0.0), Decimal("1.10"), Fraction(-1, 3), range(1, 9, 2)],
    "sequences": [(1, ("a",)), bytearray(b"y"), collections.deque([1, 2], 3), collections.deque()],
    "sets": [{1, 2, "a"}, frozenset({("a", 1)}), set()],
    "dicts": [
        {(1, 2): 3, None: 4},
        collections.OrderedDict([("b", 1), ("a", 2)]),
        collections.defaultdict(list, {"a": [1]}),
        collections.Counter("hello"),
    ],
    "moments": [
        MOMENT,
        datetime.datetime(2024, 1, 2),
        datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
        datetime.date(2024, 1, 2),
        datetime.time(1, 2, 3, 4),
        datetime.timedelta(-1, 2, 3),
        datetime.timezone(datetime.timedelta(hours=2), "X"),
        datetime.timezone.utc,
    ],
    "others": [uuid.UUID(int=5), ..., pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:\\a")],
    "dataclass": Plain("a", [Slotted("s"), Plain("b")]),
    "named tuple": Point(1, [Point(2)]),
    "enum": [Colour.RED, Rights.READ | Rights.WRITE, Rights(0)],
    "pydantic": Model(name="a", inner=Plain("b"), more=[1]),
    "pydantic generic": [Box[int](content=1), Root([1, 2])],
}
