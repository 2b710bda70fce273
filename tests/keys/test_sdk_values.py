"""Messages, tools and settings of the SDKs and of LangChain, as arguments and as defaults."""

from __future__ import annotations

import collections
import operator
import threading
import types

import anthropic
import httpx
import openai
import pydantic
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import StructuredTool, Tool, tool

from aicached import UnkeyableArgument, ai_cached
from aicached.keys.canonical import form
from tests.keys.calls import digest, key, keyer

# Messages and tools --------------------------------------------------------------------------------------------------

MESSAGES = [
    HumanMessage("hi"),
    HumanMessage("ho"),
    HumanMessage("hi", name="Ann"),
    HumanMessage([{"type": "image", "base64": "AA=="}]),
    HumanMessage([{"type": "image", "base64": "AB=="}]),
    SystemMessage("hi"),
    AIMessage("hi"),
    AIMessage("hi", tool_calls=[{"name": "look_up", "args": {"city": "Bern"}, "id": "1"}]),
    AIMessage("hi", tool_calls=[{"name": "look_up", "args": {"city": "Basel"}, "id": "1"}]),
    ToolMessage("hi", tool_call_id="1"),
    ToolMessage("hi", tool_call_id="2"),
    openai.types.chat.ChatCompletionMessage(role="assistant", content="hi"),
    openai.types.chat.ChatCompletionMessage(role="assistant", content="hi", mood="good"),
    anthropic.types.TextBlock(type="text", text="hi"),
    {"role": "user", "content": "hi"},
    ("user", "hi"),
]


def test_messages_count_by_class_and_content():
    assert len(MESSAGES) == len(set(map(digest, MESSAGES)))
    assert digest([HumanMessage("hi")]) == digest([HumanMessage(content="hi")])
    assert [digest(m) for m in MESSAGES[:11]] == [digest(m.model_copy(deep=True)) for m in MESSAGES[:11]]


def lookup(suffix="", limit=3):
    def look_up(city: str) -> str:
        """Look a city up."""
        return city[:limit] + suffix

    return look_up


def another(suffix=""):
    def look_up(city: str) -> str:
        """Look a city up."""
        return suffix + city

    return look_up


def documented(city: str) -> str:
    """Look a town up."""
    return city


@pytest.mark.parametrize(
    "make", [tool, StructuredTool.from_function, lambda f: Tool(name="a", description="b", func=f)]
)
def test_a_tool_counts_by_what_its_function_does_and_closes_over(make):
    tools = [make(lookup()), make(lookup("!")), make(lookup(limit=4)), make(another())]
    assert len(tools) == len({digest(each) for each in tools})
    assert digest(make(lookup())) == digest(make(lookup()))


def test_a_tool_counts_by_name_description_and_schema():
    class Wide(pydantic.BaseModel):
        city: str
        country: str = "CH"

    made = StructuredTool.from_function
    tools = [
        made(lookup()),
        made(lookup(), name="find"),
        made(lookup(), description="Find it."),
        made(lookup(), args_schema=Wide),
        made(lookup(), return_direct=True),
        tool(documented),
    ]
    assert len(tools) == len({digest(each) for each in tools})


def test_a_pydantic_tool_counts_by_its_schema():
    def made(text):
        class LookUp(pydantic.BaseModel):
            """Look a city up."""

            city: str = pydantic.Field(description=text)

        return LookUp

    tools = [openai.pydantic_function_tool(made(text)) for text in ("a", "b")]
    assert digest(tools[0]) != digest(tools[1])
    assert digest([made("a")]) == digest([made("a")]) != digest([made("b")])


# Settings ------------------------------------------------------------------------------------------------------------

SETTINGS = [
    openai.NOT_GIVEN, openai.omit, None, httpx.Timeout(3), httpx.Timeout(4), httpx.Timeout(3, connect=1),
    httpx.Timeout(None), 3, httpx.URL("http://a"), httpx.URL("http://b"), "http://a", httpx.Headers({"a": "1"}),
    httpx.Headers({"a": "2"}), {"a": "1"}, httpx.QueryParams(a=1), httpx.QueryParams(a=2), httpx.Limits(),
    httpx.Limits(max_connections=1),
]  # fmt: skip


def test_settings_count_by_what_they_hold():
    assert len(SETTINGS) == len(set(map(digest, SETTINGS)))
    assert digest(httpx.Timeout(3)) == digest(openai.Timeout(3)) == digest(anthropic.Timeout(3))
    assert digest(httpx.Headers({"A": "1"})) == digest(httpx.Headers({"a": "1"}))


def test_settings_have_one_key_in_whatever_order_the_sdks_are_imported():
    """Each SDK writes its own name into the classes that it exports, httpx's among them."""
    for name in ("httpx", "openai", "anthropic"):
        timeout = type("Timeout", (), {"__module__": name, **dict.fromkeys(("connect", "read", "write", "pool"), 3.0)})
        assert form(timeout()) == form(httpx.Timeout(3))


def test_what_only_has_the_name_of_a_setting_is_none():
    timeout = type("Timeout", (), {"__module__": "mine", "connect": 1, "read": 1, "write": 1, "pool": 1})
    with pytest.raises(UnkeyableArgument):
        digest(timeout())
    with pytest.raises(UnkeyableArgument):
        digest(type("Mine", (httpx.Timeout,), {"__module__": "mine"})(3))


CREATES = [
    openai.OpenAI(api_key="a").chat.completions.create,
    openai.AsyncOpenAI(api_key="a").chat.completions.create,
    anthropic.Anthropic(api_key="a").messages.create,
]


@pytest.mark.parametrize("create", CREATES)
def test_a_default_that_means_left_out_is_none_in_the_bound_list(create):
    """So that the memo takes the call."""
    keys = keyer(create)
    given = {"messages": [{"role": "user", "content": "hi"}], "model": "m", "max_tokens": 5}
    bound = keys.binder.values((create.__self__,), given)
    assert all(type(value) in (str, int, list, dict, type(None)) for value in bound[1:])
    assert {"stream?", "tools?", "timeout?"} <= {*keys.binder.names}
    lane, _ = keys.key(None, (), given, (), 0)
    assert 1 == len(lane.known)


def test_a_sentinel_as_a_default_of_ones_own_is_the_default_left_out_or_passed():
    def ask(prompt, temperature=openai.NOT_GIVEN):
        pass

    assert key(ask, "hi") == key(ask, "hi", openai.NOT_GIVEN) == key(ask, "hi", temperature=openai.NOT_GIVEN)
    assert 4 == len({key(ask, "hi", each) for each in (openai.NOT_GIVEN, openai.omit, None, 0.5)})


# Functions of packages, and callables ---------------------------------------------------------------------------------


def test_a_method_of_an_sdk_is_an_argument_like_others():
    def clients(**options):
        return openai.OpenAI(**{"api_key": "a", **options}), anthropic.Anthropic(**{"api_key": "a", **options})

    (one, two), (there, _) = clients(), clients(base_url="http://localhost:1")
    methods = [one.chat.completions.create, one.responses.create, two.messages.create, there.chat.completions.create]
    assert len(methods) == len(set(map(digest, methods)))
    again, _ = clients(api_key="b")
    assert digest(one.chat.completions.create) == digest(again.chat.completions.create)


def test_functions_of_packages_are_not_watched_at_each_call():
    keys = keyer(openai.OpenAI(api_key="a").chat.completions.create)
    assert [] == keys.fingerprint.view.watched


def test_what_a_package_has_made_counts_by_its_defaults():
    """The release of a package says nothing of a function that one of its functions returns."""

    def made(limit):
        def inner(text, limit=limit):
            return text[:limit]

        inner.__module__ = "openai"
        return inner

    assert digest(made(1)) != digest(made(2))


CHOOSING = [
    operator.itemgetter(0), operator.itemgetter(1), operator.itemgetter(True), operator.itemgetter(0, 1),
    operator.attrgetter("a"), operator.attrgetter("b"), operator.methodcaller("a"), operator.methodcaller("a", 1),
    operator.methodcaller("a", k=1),
]  # fmt: skip


def test_a_callable_object_counts_by_what_it_holds_where_it_is_decorated():
    assert len(CHOOSING) == len({key(each, [1]) for each in CHOOSING}) == len(set(map(digest, CHOOSING)))
    assert key(operator.itemgetter(0), [1]) == key(operator.itemgetter(0), [1])
    first, second = (ai_cached(operator.itemgetter(place), cache="memory://") for place in (0, 1))
    assert ("a", "b", "a") == (first(["a", "b"]), second(["a", "b"]), first(["a", "b"]))
    assert 1 == first.cache_info().hits


def test_a_callable_object_without_content_is_unkeyable_never_told_by_its_name():
    import numpy

    with pytest.raises(UnkeyableArgument, match="self is a numpy.ufunc"):
        key(numpy.add, 1, 2)


# While somebody changes them -----------------------------------------------------------------------------------------


def test_memory_that_was_released_is_unkeyable():
    memory = memoryview(b"abc")
    memory.release()
    for value in (memory, [memory], {"a": memory}):
        with pytest.raises(UnkeyableArgument, match="released"):
            digest(value)


class Changing:
    """Change its container while that is looked at, as another thread might."""

    def __init__(self):
        self.change = lambda: None

    def __cache_key__(self):
        self.change()
        return "x"


@pytest.mark.parametrize("kind", [dict, collections.OrderedDict, collections.defaultdict, types.MappingProxyType])
@pytest.mark.parametrize("odd", [False, True])
def test_a_mapping_that_is_changed_meanwhile_is_unkeyable_or_has_a_key(kind, odd):
    changing = Changing()
    content = {"a": changing, **dict.fromkeys("bcdefg", 1), **({1: 2} if odd else {})}
    value = kind(None, content) if kind is collections.defaultdict else kind(content)
    changed = content if kind is types.MappingProxyType else value
    changing.change = changed.clear
    told = ""
    try:
        form(value)
    except UnkeyableArgument as error:
        told = str(error)
    assert told == "" or "changed meanwhile" in told


def test_a_dict_that_another_thread_changes_raises_nothing_else(impatient):
    value = {f"{number}": Changing() for number in range(50)}
    done = threading.Event()

    def change():
        while not done.is_set():
            for number in range(50):
                value.pop(f"{number}", None)
                value[f"{number}"] = Changing()
                value[number] = {number}
            for number in range(50):
                value.pop(number, None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            try:
                digest(value)
            except UnkeyableArgument:
                continue
    finally:
        done.set()
        thread.join()
