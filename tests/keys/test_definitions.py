"""Functions, classes and type expressions as arguments: by name and by what they are made of."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import typing

import pydantic
import pytest

from aicached import UnkeyableArgument, ai_cached
from aicached.keys.code import code_digest, code_names
from tests.keys.calls import digest, module


def one(source: str, **where):
    """Return the only thing that *source* defines in capitals or as `it`."""
    return module(source, **where).it


def digests(*sources: str) -> list[bytes]:
    return [digest(one(source)) for source in sources]


# Functions as tools --------------------------------------------------------------------------------------------------

TOOL = "def it(city, unit='c'): return f'{city} in {unit}'"


@pytest.mark.parametrize(
    "edited",
    [
        TOOL.replace("in", "at"),
        TOOL.replace("'c'", "'f'"),
        TOOL.replace("unit='c'", "*, unit='c'"),
        TOOL.replace("city,", "city: str,"),
        TOOL.replace("city", "town"),
        TOOL.replace("def it", "async def it"),
        TOOL.replace(": return", ": 'Tell the weather.'; return"),
        TOOL.replace("'c'", "b'c'"),
        TOOL.replace("def it", "def that") + "\nit = that",
    ],
)
def test_an_edited_tool_is_another_argument(edited):
    assert digest(one(TOOL)) == digest(one(TOOL))
    assert digest(one(TOOL)) != digest(one(edited))


def test_where_a_tool_stands_does_not_count():
    assert digest(one(TOOL)) == digest(one(TOOL, filename="/elsewhere.py", line=500))


def test_the_types_that_a_tool_takes_count_also_where_they_are_written_as_text():
    source = "from __future__ import annotations\nclass City:\n    name: {}\ndef it(city: City): pass"
    first, second = digests(source.format("str"), source.format("int"))
    assert first != second


def test_functions_of_one_factory_that_close_over_different_things_differ():
    def make(held):
        def tool():
            return held

        return tool

    held = [1, 1.0, True, "a", ["a"], {"a": 1}, len, make(1), make(2), int, str]
    made = [digest(make(each)) for each in held]
    assert len(set(made)) == len(held)


def test_a_tool_that_closes_over_a_plain_object_is_unkeyable():
    held = object()
    with pytest.raises(UnkeyableArgument):
        digest(lambda: held)


def test_a_default_that_was_changed_in_place_counts():
    def tool(examples=["a"]):
        return examples

    before = digest(tool)
    tool.__defaults__[0].append("b")
    assert digest(tool) != before


def test_recursion_in_a_closure_has_a_form():
    def make(number):
        def count(n):
            return number if n == 0 else count(n - 1)

        return count

    def pair(number):
        def even(n):
            return n == 0 or odd(n - 1)

        def odd(n):
            return n != number and even(n - 1)

        return even, odd

    assert digest(make(1)) == digest(make(1))
    assert digest(make(1)) != digest(make(2))
    assert digest(pair(1)[0]) == digest(pair(1)[0])
    assert digest(pair(1)[0]) != digest(pair(2)[0])
    assert digest(pair(1)[0]) != digest(pair(1)[1])


def test_an_empty_cell_has_a_form():
    def make():
        def tool():
            return later

        before = digest(tool)
        later = 1
        return before, digest(tool)

    before, after = make()
    assert before != after


def test_a_cached_function_as_a_tool_counts_as_the_function_that_it_is():
    def make(number):
        return ai_cached(lambda: number, cache="memory://")

    assert digest(make(1)) == digest(make(1))
    assert digest(make(1)) != digest(make(2))


def test_two_lambdas_on_one_line_differ():
    first, second = (lambda: 1), (lambda: 2)
    assert digest(first) != digest(second)


# Code ----------------------------------------------------------------------------------------------------------------


def code(source: str, line: int = 0):
    return one(source, line=line).__code__


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("def it(): return 1", "def it(): return 1.0"),
        ("def it(): return 0.0", "def it(): return -0.0"),
        ("def it(): return 1", "def it(): return True"),
        ("def it(): return (1, 2)", "def it(): return (1, 2.0)"),
        ("def it(): return a.b", "def it(): return a.c"),
        ("def it(): return lambda: 1", "def it(): return lambda: 2"),
        ("def it(x): return x in {1, 2}", "def it(x): return x in {1, 3}"),
        ("def it(x): return x in {1, 2}", "def it(x): return x in (1, 2)"),
        ("def it(a, b): pass", "def it(a, /, b): pass"),
        ("def it(a, b): pass", "def it(a, *, b): pass"),
        ("def it(a, *b): pass", "def it(a, b): pass"),
        ("def it():\n  try: f()\n  except A: pass", "def it():\n  try: f()\n  except B: pass"),
        ("def it():\n  try: f()\n  except A: g()", "def it():\n  f()\n  try: g()\n  except A: pass"),
        ("def it(): return 2**70", "def it(): return 2**71"),
        ("def it(): return '\\ud800'", "def it(): return '\\ud801'"),
        ("def it(): return ...", "def it(): return None"),
    ],
)
def test_code_that_does_something_else_has_another_digest(first, second):
    assert code_digest(code(first)) != code_digest(code(second))


@pytest.mark.parametrize(
    "source",
    [
        "def it(x):\n    'doc'\n    return [y for y in x if y in {1, 2}]",
        "def it():\n    class A:\n        x = 1\n        def f(self): self.a = 2\n    return A",
        "def it():\n    try:\n        return 1\n    finally:\n        print()",
    ],
)
def test_code_that_was_moved_has_the_same_digest(source):
    assert code_digest(code(source)) == code_digest(code(source, line=300))


def test_a_constant_in_a_class_body_counts_though_it_may_be_the_line_number_too():
    source = "def it():\n    class A:\n        x = {}\n    return A"
    made = {code_digest(code(source.format(number), line=line)) for number, line in ((2, 0), (3, 1), (4, 2), (5, 3))}
    assert len(made) == 4


def test_code_has_the_same_digest_once_it_is_warm():
    function = one("def it(n):\n    total = 0\n    for i in range(n): total += i\n    return total")
    code_digest.cache_clear()
    before = code_digest(function.__code__)
    for _ in range(300):
        function(100)
    code_digest.cache_clear()
    assert code_digest(function.__code__) == before


def test_a_decorator_above_does_not_change_the_code():
    plain = module("def it(): return 1").it
    decorated = module("def keep(f): return f\n@keep\n@keep\ndef it(): return 1").it
    assert code_digest(plain.__code__) == code_digest(decorated.__code__)


def test_the_names_that_code_reads():
    source = (
        "def it(x):\n"
        "    global assigned\n"
        "    assigned = CONSTANT\n"
        "    inner = lambda: pkg.sub.MODEL\n"
        "    return assigned + __file__ + len(x.attribute) + __PROMPT + config.__name__\n"
    )
    assert code_names(code(source)) == (("CONSTANT",), ("__PROMPT",), ("len",), ("pkg", "sub", "MODEL"))


def test_names_are_read_right_in_code_of_many_names():
    many = "".join(f"    name{n}\n" for n in range(600))
    assert ("config", "MODEL") in code_names(code(f"def it():\n{many}    return config.MODEL"))


# Classes -------------------------------------------------------------------------------------------------------------

IMPORTS = "import dataclasses, enum, typing, pydantic\n"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("class it:\n  x: int", "class it:\n  x: str"),
        ("class it:\n  x = 1", "class it:\n  x = 2"),
        ("class it:\n  x = 1", "class it:\n  x = True"),
        ("class it:\n  'doc'", "class it:\n  'another'"),
        ("class it:\n  def f(self): return 1", "class it:\n  def f(self): return 2"),
        ("class it:\n  def f(self, a=1): pass", "class it:\n  def f(self, a=2): pass"),
        ("class it:\n  def f(self, *, a=1): pass", "class it:\n  def f(self, *, a=2): pass"),
        ("class it:\n  def f(self, a: int): pass", "class it:\n  def f(self, a: str): pass"),
        ("class it:\n  @property\n  def f(self): return 1", "class it:\n  @property\n  def f(self): return 2"),
        ("class it:\n  @staticmethod\n  def f(): return 1", "class it:\n  @staticmethod\n  def f(): return 2"),
        ("class it:\n  @classmethod\n  def f(c): return 1", "class it:\n  @classmethod\n  def f(c): return 2"),
        ("class B:\n  x = 1\nclass it(B): pass", "class B:\n  x = 2\nclass it(B): pass"),
        ("class B:\n  x: int\nclass it:\n  b: B", "class B:\n  x: str\nclass it:\n  b: B"),
        ("class B:\n  x: int\nclass it:\n  b: 'B'", "class B:\n  x: str\nclass it:\n  b: 'B'"),
        ("class it:\n  x: typing.Annotated[int, object()]", "class it:\n  x: typing.Annotated[str, object()]"),
        ("@dataclasses.dataclass\nclass it:\n  x: int = 1", "@dataclasses.dataclass\nclass it:\n  x: int = 2"),
        ("class it(typing.TypedDict):\n  x: int", "class it(typing.TypedDict):\n  x: str"),
        ("class it(typing.NamedTuple):\n  x: int", "class it(typing.NamedTuple):\n  x: int = 1"),
        ("class it(enum.Enum):\n  A = 'a'", "class it(enum.Enum):\n  A = 'b'"),
        ("class it(enum.Enum):\n  A = 'a'", "class it(enum.Enum):\n  A = 'a'; B = 'b'"),
        ("class it(pydantic.BaseModel):\n  x: int", "class it(pydantic.BaseModel):\n  x: str"),
        ("class it(pydantic.BaseModel):\n  x: int", "class it(pydantic.BaseModel):\n  x: int = 1"),
        ("class it(pydantic.BaseModel):\n  x: int", "class it(pydantic.BaseModel):\n  'What it is.'\n  x: int"),
        (
            "class B(pydantic.BaseModel):\n  x: int\nclass it(pydantic.BaseModel):\n  b: B",
            "class B(pydantic.BaseModel):\n  x: str\nclass it(pydantic.BaseModel):\n  b: B",
        ),
        (
            "class it(pydantic.BaseModel):\n  x: int = pydantic.Field(description='a')",
            "class it(pydantic.BaseModel):\n  x: int = pydantic.Field(description='b')",
        ),
        ("class it: pass", "class that: pass\nit = that"),
    ],
)  # fmt: skip
def test_a_class_that_was_edited_is_another_argument(first, second):
    first, second = IMPORTS + first, IMPORTS + second
    again, before, after = digests(first, first, second)
    assert again == before
    assert before != after


def test_where_a_class_stands_does_not_count():
    source = IMPORTS + "@dataclasses.dataclass\nclass it:\n  x: int = 1\n  def f(self): self.y = 1"
    assert digest(one(source)) == digest(one(source, filename="/elsewhere.py", line=70))


def test_a_class_that_was_changed_in_place_is_another_argument():
    made = module("class Base: MODEL = 'a'\nclass Part: SIZE = 1\nclass it(Base):\n  part: Part\n  NAME = 'n'")
    seen = [digest(made.it)]
    made.it.NAME = "m"
    seen.append(digest(made.it))
    made.Base.MODEL = "b"
    seen.append(digest(made.it))
    made.Part.SIZE = 2
    seen.append(digest(made.it))
    assert len(set(seen)) == 4
    made.it.NAME, made.Base.MODEL, made.Part.SIZE = "n", "a", 1
    assert digest(made.it) == seen[0]


def test_a_model_that_was_rebuilt_is_another_argument():
    Answer = pydantic.create_model("Answer", text=(str, ...))
    before = digest(Answer)
    Answer.__pydantic_fields__["text"].description = "What to say."
    Answer.model_rebuild(force=True)
    assert digest(Answer) != before


def test_classes_of_one_factory_whose_methods_close_over_different_constants_differ():
    def make(model):
        class Tool:
            def run(self):
                return model

        return Tool

    assert digest(make("a")) == digest(make("a"))
    assert digest(make("a")) != digest(make("b"))


def test_a_class_that_speaks_of_itself_has_a_form():
    @dataclasses.dataclass
    class Node:
        children: list
        other: typing.Any = None

    Node.__annotations__["children"] = list[Node]
    assert digest(Node) == digest(Node)


def test_a_docstring_that_dataclass_wrote_holds_an_address_and_does_not_count():
    source = IMPORTS + "@dataclasses.dataclass\nclass it:\n  x: object = object()"
    assert digest(one(source)) == digest(one(source))


def test_a_class_and_its_instance_and_its_name_are_three_arguments():
    @dataclasses.dataclass
    class Empty:
        pass

    assert len({digest(Empty), digest(Empty()), digest("Empty"), digest([Empty])}) == 4


def test_classes_made_at_run_time_do_not_pile_up():
    from aicached.keys import definitions

    for number in range(1100):
        digest(type(f"Made{number}", (), {}))
    assert len(definitions._class_forms) <= 1000


@pytest.mark.parametrize(
    "kind", [json.JSONDecoder, enum.Enum, functools.partial, pydantic.BaseModel, type, pytest.Item]
)
def test_classes_of_libraries_have_a_digest(kind):
    assert digest(kind) == digest(kind)
