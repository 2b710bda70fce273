"""What the decorator makes of functions of every kind, and what it leaves as it was."""

from __future__ import annotations

import abc
import asyncio
import copy
import functools
import inspect
import pickle
import sys
import typing

import anthropic
import openai
import pytest

from aicached import Cache, ConfigurationError, UnkeyableArgument, ai_cached, sample
from aicached.site import colour_of
from aicached.testing import ScriptedModel


@ai_cached(cache="memory://")
def ask(prompt: str, *, model: str = "small") -> str:
    """Ask a model."""
    return f"{model}: {prompt}"


class Cached:
    """Methods of every kind at the top of a module, so that they pickle."""

    @ai_cached(cache="memory://", ignore=("self",))
    def ask(self, prompt: str) -> str:
        return prompt


def methods(cache: Cache, model: ScriptedModel, colour: str):
    """Make a class with a method of every kind, each around *model*."""
    cached = ai_cached(cache=cache)
    said = model.acall if colour == "async" else model

    class Bot:
        def __init__(self, name: str) -> None:
            self.name = name

        def __cache_key__(self) -> str:
            return self.name

        if colour == "async":

            @cached
            async def method(self, prompt):
                return await said(f"{self.name} {prompt}")

            @cached
            @classmethod
            async def above_class(cls, prompt):
                return await said(f"{cls.__name__} {prompt}")

            @classmethod
            @cached
            async def below_class(cls, prompt):
                return await said(f"{cls.__name__} {prompt}")

            @cached
            @staticmethod
            async def above_static(prompt):
                return await said(prompt)

            @staticmethod
            @cached
            async def below_static(prompt):
                return await said(prompt)

        else:

            @cached
            def method(self, prompt):
                return said(f"{self.name} {prompt}")

            @cached
            @classmethod
            def above_class(cls, prompt):
                return said(f"{cls.__name__} {prompt}")

            @classmethod
            @cached
            def below_class(cls, prompt):
                return said(f"{cls.__name__} {prompt}")

            @cached
            @staticmethod
            def above_static(prompt):
                return said(prompt)

            @staticmethod
            @cached
            def below_static(prompt):
                return said(prompt)

    return Bot


# The second call ------------------------------------------------------------------------------------------------------


def test_the_second_call_costs_nothing(cache, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache)
    assert ["hi", "hi"] == [run(ask("hi")), run(ask("hi"))]
    assert 1 == model.calls
    info = ask.cache_info()
    assert (1, 1, 0, 1) == (info.hits, info.misses, info.bypassed, info.stored)


def test_bare_and_called_without_options_are_the_same(colour, run):
    model = ScriptedModel()
    bare, called = ai_cached(model.function(colour)), ai_cached()(model.function(colour))
    assert run(bare("hi")) == run(called("hi"))
    assert 1 == model.calls


def test_every_spelling_of_a_call_is_one_call(cache, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache)
    run(ask("hi"))
    run(ask(prompt="hi"))
    run(ask("hi", model="small"))
    assert 1 == model.calls
    run(ask("hi", model="large"))
    assert 2 == model.calls


def test_arguments_that_do_not_fit_raise_the_functions_own_error(cache, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    with pytest.raises(TypeError, match="prompt"):
        run(ask())


# Methods and other callables ------------------------------------------------------------------------------------------

KINDS = ["method", "above_class", "below_class", "above_static", "below_static"]


@pytest.mark.parametrize("kind", KINDS)
def test_methods_of_every_kind_hit(cache, colour, run, kind):
    model = ScriptedModel()
    call = getattr(methods(cache, model, colour)("a"), kind)
    first = run(call("hi"))
    assert first == run(call(prompt="hi"))
    assert 1 == model.calls


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_called_through_the_class_is_the_same_call(cache, colour, run, kind):
    model = ScriptedModel()
    Bot = methods(cache, model, colour)
    bot = Bot("a")
    run(getattr(bot, kind)("hi"))
    through = (bot, "hi") if kind == "method" else ("hi",)
    run(getattr(Bot, kind)(*through))
    assert 1 == model.calls


def test_self_counts(cache, colour, run):
    model = ScriptedModel()
    Bot = methods(cache, model, colour)
    assert ["a hi", "b hi", "a hi"] == [run(Bot(name).method("hi")) for name in "aba"]
    assert 2 == model.calls


@pytest.mark.parametrize("kind", ["above_class", "below_class"])
def test_the_class_of_a_classmethod_counts(cache, colour, run, kind):
    model = ScriptedModel()
    Bot = methods(cache, model, colour)

    class Child(Bot):
        pass

    assert ["Bot hi", "Child hi"] == [run(getattr(cls, kind)("hi")) for cls in (Bot, Child)]


def test_a_method_calls_the_one_of_its_base(cache, colour, run):
    """A cached method that reaches its overridden namesake through super() does not take it for itself."""
    model = ScriptedModel()
    Bot = methods(cache, model, colour)

    class Child(Bot):
        if colour == "async":

            @ai_cached(cache=cache)
            async def method(self, prompt):
                return "child of " + await super().method(prompt)
        else:

            @ai_cached(cache=cache)
            def method(self, prompt):
                return "child of " + super().method(prompt)

    assert "child of a hi" == run(Child("a").method("hi"))
    assert "child of a hi" == run(Child("a").method("hi"))
    assert 1 == model.calls


def test_a_bound_method_can_be_decorated_from_outside(cache, colour, run):
    model = ScriptedModel()

    class Bot:
        def __cache_key__(self):
            return "bot"

        def ask(self, prompt):
            return model(prompt)

        async def aask(self, prompt):
            return await model.acall(prompt)

    ask = ai_cached(Bot().aask if colour == "async" else Bot().ask, cache=cache)
    assert [run(ask("hi")), run(ask(prompt="hi"))] == ["hi", "hi"]
    assert 1 == model.calls
    assert ask.cache_key("hi") == ask.cache_key(prompt="hi")


def test_a_partial_can_be_decorated(cache, colour, run):
    model = ScriptedModel()
    function = model.function(colour)
    large = ai_cached(functools.partial(function, model="large"), cache=cache)
    plain = ai_cached(function, cache=cache)
    run(large("hi"))
    run(large("hi"))
    assert 1 == model.calls
    assert large.cache_key("hi") == plain.cache_key("hi", model="large")


def test_a_callable_object_can_be_decorated(cache, run):
    model = ScriptedModel()
    ask = ai_cached(model, cache=cache)
    assert ["hi", "hi"] == [ask("hi"), ask(prompt="hi")]
    assert 1 == model.calls


def test_an_async_callable_object_is_async(cache):
    class Model:
        def __cache_key__(self):
            return "m"

        async def __call__(self, prompt):
            return prompt

    ask = ai_cached(Model(), cache=cache)

    async def main():
        return [await ask("hi"), await ask("hi")]

    assert ["hi", "hi"] == asyncio.run(main())
    assert 1 == ask.cache_info().hits


# What can be seen from outside ---------------------------------------------------------------------------------------


def test_the_function_keeps_its_looks(cache, colour):
    function = ScriptedModel().function(colour)
    function.__doc__ = "Ask a model."
    ask = ai_cached(function, cache=cache)
    assert inspect.signature(function) == inspect.signature(ask)
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__", "__defaults__"):
        assert getattr(function, name) == getattr(ask, name), name
    assert function is ask.__wrapped__


def test_inspect_sees_a_function_of_the_same_kind(cache, colour):
    function = ScriptedModel().function(colour)
    ask = ai_cached(function, cache=cache)
    for question in (inspect.isfunction, inspect.isroutine, inspect.iscoroutinefunction, inspect.isgeneratorfunction):
        assert question(function) == question(ask), question.__name__
    assert callable(ask)


def test_inspect_sees_a_method_of_the_same_kind(cache, colour):
    bot = methods(cache, ScriptedModel(), colour)("a")
    assert (colour == "async") == inspect.iscoroutinefunction(bot.method)
    assert ["prompt"] == list(inspect.signature(bot.method).parameters)
    assert ["self", "prompt"] == list(inspect.signature(type(bot).method).parameters)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_a_copy_is_the_function_itself(duplicate):
    assert ask is duplicate(ask)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_pickles_by_name(protocol):
    data = pickle.dumps(ask, protocol)
    assert ask is pickle.loads(data)
    assert len(data) < 200


def test_a_bound_method_pickles_by_name():
    method = pickle.loads(pickle.dumps(Cached().ask))
    assert "hi" == method("hi")
    assert method.cache_key("hi") == Cached().ask.cache_key("hi")


def test_type_hints_are_those_of_the_function(cache):
    assert {"prompt": str, "model": str, "return": str} == typing.get_type_hints(ask)
    assert {"prompt": str, "return": str} == typing.get_type_hints(Cached.ask) == typing.get_type_hints(Cached().ask)


def test_an_abstract_method_stays_abstract(cache):
    class Base(abc.ABC):
        @ai_cached(cache=cache)
        @abc.abstractmethod
        def ask(self, prompt): ...

    assert frozenset({"ask"}) == Base.__abstractmethods__
    with pytest.raises(TypeError, match="abstract"):
        Base()


def test_decorators_above_and_below_keep_their_place(cache, colour, run):
    model = ScriptedModel()
    seen = []

    def noting(where):
        def decorate(function):
            @functools.wraps(function)
            def noted(*args, **kwargs):
                seen.append(where)
                return function(*args, **kwargs)

            return noted

        return decorate

    ask = noting("above")(ai_cached(noting("below")(model.function(colour)), cache=cache))
    assert ["hi", "hi"] == [run(ask("hi")), run(ask("hi"))]
    assert ["above", "below", "above"] == seen
    assert 1 == model.calls


def test_attributes_go_through_to_the_function(cache):
    made = ai_cached(ScriptedModel().function("sync"), cache=cache)
    made.note = "x"
    assert "x" == made.__wrapped__.note == made.note


# Decorating twice ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [ai_cached, ai_cached(ttl=5)])
def test_a_cached_function_is_not_decorated_again(cache, again):
    made = ai_cached(ScriptedModel().function("sync"), cache=cache)
    for decorated in (
        made,
        functools.partial(made, "hi"),
        staticmethod(made),
        methods(cache, ScriptedModel(), "sync")("a").method,
    ):
        with pytest.raises(ConfigurationError, match=r"is cached already.*cache_with"):
            again(decorated)


def test_one_plain_function_may_be_decorated_twice(cache, colour, run):
    model = ScriptedModel()
    function = model.function(colour)
    short, long = ai_cached(function, ttl=1, cache=cache), ai_cached(function, ttl="1d", cache=Cache("memory://"))
    run(short("hi"))
    run(long("hi"))
    assert 2 == model.calls
    assert (1, 0) == (short.cache_info().misses, long.cache_info().hits)
    assert (1.0, 86400.0) == (short.cache_parameters()["ttl"], long.cache_parameters()["ttl"])


@pytest.mark.parametrize("thing", [42, "ask", [1]], ids=repr)
def test_only_callables_are_decorated(thing):
    with pytest.raises(ConfigurationError, match="decorates functions"):
        ai_cached()(thing)


# The cache_* methods -------------------------------------------------------------------------------------------------


def test_contains_put_invalidate_and_refresh_speak_of_exactly_this_call(cache, colour, run):
    model = ScriptedModel("first", "second")
    ask = ai_cached(model.function(colour), cache=cache)
    assert run(ask.cache_contains("hi")) is False
    assert "first" == run(ask("hi"))
    assert run(ask.cache_contains(prompt="hi", model="small")) is True
    assert run(ask.cache_contains("ho")) is False
    assert "second" == run(ask.cache_refresh("hi"))
    assert "second" == run(ask("hi"))
    assert run(ask.cache_put("put", "hi")) is True
    assert "put" == run(ask("hi"))
    run(ask.cache_invalidate("hi"))
    assert run(ask.cache_contains("hi")) is False
    assert 2 == model.calls


def test_contains_and_key_count_nothing(cache, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    run(ask("hi"))
    before = ask.cache_info()
    run(ask.cache_contains("hi"))
    run(ask.cache_contains("ho"))
    ask.cache_key("hi")
    assert before == ask.cache_info()


def test_clear_forgets_this_functions_entries_and_counts(cache, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache)
    other = ai_cached(model.function(colour, name="other"), cache=cache)
    for function in (ask, other):
        run(function("hi"))
    run(ask.cache_clear())
    assert (0, 0) == ask.cache_info()[:2]
    assert run(ask.cache_contains("hi")) is False
    assert run(other.cache_contains("hi")) is True
    run(ask("hi"))
    run(ask("hi"))
    assert (1, 1) == ask.cache_info()[:2]


def test_a_refresh_that_fails_leaves_the_old_answer(cache, colour, run):
    ask = ai_cached(ScriptedModel("old", ValueError("no")).function(colour), cache=cache, retry=False)
    run(ask("hi"))
    with pytest.raises(ValueError, match="no"):
        run(ask.cache_refresh("hi"))
    assert "old" == run(ask("hi"))


def test_the_plain_methods_are_never_awaitable(cache, colour):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    assert 64 == len(ask.cache_key("hi"))
    assert (0,) * 2 == ask.cache_info()[:2]
    assert {"ttl", "namespace", "followed", "not_followed", "parameters"} <= ask.cache_parameters().keys()


def test_the_methods_have_the_functions_colour(cache, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    made = [
        ask.cache_contains("hi"),
        ask.cache_refresh("hi"),
        ask.cache_put("v", "hi"),
        ask.cache_samples(1, "hi"),
        ask.cache_invalidate("hi"),
        ask.cache_clear(),
    ]
    assert [colour == "async"] * 6 == [inspect.isawaitable(each) for each in made]
    for each in made:
        run(each)


#: From Python 3.13 on, `@classmethod` above another decorator hides the class from the `cache_*` methods.
BOUND = [kind for kind in KINDS if kind != "below_class" or sys.version_info < (3, 13)]


def test_where_a_classmethod_hides_the_class_it_is_asked_for(cache, colour, run):
    Bot = methods(cache, ScriptedModel(), colour)
    hidden = inspect.getattr_static(Bot, "below_class").__func__
    with pytest.raises(TypeError, match="cls first"):
        run(hidden.cache_contains("hi"))
    assert run(hidden.cache_contains(Bot, "hi")) is False
    run(hidden(Bot, "hi"))
    assert run(hidden.cache_contains(Bot, "hi")) is True


@pytest.mark.parametrize("kind", BOUND)
def test_the_methods_of_a_bound_method_go_without_self(cache, colour, run, kind):
    model = ScriptedModel()
    Bot = methods(cache, model, colour)
    call = getattr(Bot("a"), kind)
    assert run(call.cache_contains("hi")) is False
    run(call("hi"))
    assert run(call.cache_contains("hi")) is True
    assert run(call.cache_put("put", "hi")) is True
    assert "put" == run(call("hi"))
    run(call.cache_invalidate("hi"))
    assert run(call.cache_contains("hi")) is False
    assert 1 == model.calls


def test_the_methods_see_the_same_key_through_the_class(cache, colour, run):
    Bot = methods(cache, ScriptedModel(), colour)
    bot = Bot("a")
    assert bot.method.cache_key("hi") == Bot.method.cache_key(bot, "hi") == Bot.method.cache_key(bot, prompt="hi")
    assert "a hi" == run(Bot.method.cache_refresh(bot, "hi"))
    assert run(bot.method.cache_contains("hi")) is True
    for kind in BOUND[1:]:
        assert getattr(bot, kind).cache_key("hi") == getattr(Bot, kind).cache_key("hi"), kind


def test_the_methods_of_a_method_through_the_class_want_the_instance(cache):
    Bot = methods(cache, ScriptedModel(), "sync")
    with pytest.raises(TypeError, match="pass the instance first"):
        Bot.method.cache_key()


def test_put_takes_parameters_called_value_and_n(cache, colour, run):
    async def aask(value, n=1):
        return [value, n]

    def ask(value, n=1):
        return [value, n]

    made = ai_cached(aask if colour == "async" else ask, cache=cache)
    assert run(made.cache_put("kept", value="v", n=2)) is True
    assert "kept" == run(made("v", n=2))
    assert [["v", 3]] == run(made.cache_samples(1, value="v", n=3))


def test_put_obeys_the_rules(cache, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache, cache_if=lambda answer: answer != "bad")
    assert run(ask.cache_put("bad", "hi")) is False
    assert run(ask.cache_contains("hi")) is False


def test_with_gives_the_same_function_other_options(cache, colour, run):
    model = ScriptedModel("first", "second", "third")
    ask = ai_cached(model.function(colour), cache=cache)
    assert "first" == run(ask("hi"))
    assert "second" == run(ask.cache_with(mode="refresh", ttl="1h")("hi"))
    assert "second" == run(ask("hi"))
    assert "third" == run(ask.cache_with(mode="off")("hi"))
    assert (3600.0, 86400.0) == (ask.cache_with(ttl="1h").cache_parameters()["ttl"], ask.cache_parameters()["ttl"])


def test_with_other_options_of_a_method(cache, colour, run):
    model = ScriptedModel("first", "second")
    bot = methods(cache, model, colour)("a")
    assert "first" == run(bot.method("hi"))
    assert "second" == run(bot.method.cache_with(mode="refresh")("hi"))
    assert "second" == run(bot.method("hi"))


def test_with_another_cache(cache, colour, run):
    model = ScriptedModel("first", "second")
    ask = ai_cached(model.function(colour), cache=cache)
    run(ask("hi"))
    assert "second" == run(ask.cache_with(cache=Cache("memory://"))("hi"))
    assert "first" == run(ask("hi"))


def test_with_refuses_unknown_options(cache):
    with pytest.raises(ConfigurationError, match="no option 'tll'"):
        ask.cache_with(tll=5)


def test_samples_computes_those_that_are_missing(cache, colour, run):
    model = ScriptedModel("a", "b", "c")
    ask = ai_cached(model.function(colour), cache=cache)
    assert "a" == run(ask("hi"))
    assert ["a", "b", "c"] == run(ask.cache_samples(3, "hi"))
    assert ["a", "b"] == run(ask.cache_samples(2, "hi"))
    assert [] == run(ask.cache_samples(0, "hi"))
    assert 3 == model.calls


def test_samples_are_the_answers_that_sample_gives(cache, colour, run):
    """A cached function inside answers independently, too, or the answers would not be independent."""
    inner = ai_cached(ScriptedModel("a", "b", "c").function("sync", name="inner"), cache=cache)

    def outer(prompt):
        return inner(prompt)

    async def aouter(prompt):
        return inner(prompt)

    cached = ai_cached(aouter if colour == "async" else outer, cache=cache)
    assert ["a", "b", "c"] == run(cached.cache_samples(3, "hi"))
    with sample(1):
        assert "b" == run(cached("hi")) == inner("hi")


def test_samples_are_the_same_inside_of_a_sample(cache, colour, run):
    ask = ai_cached(ScriptedModel("a", "b").function(colour), cache=cache)
    with sample(1):
        assert ["a", "b"] == run(ask.cache_samples(2, "hi"))
    assert ["a", "b"] == run(ask.cache_samples(2, "hi"))


@pytest.mark.parametrize("n", [-1, True, "3", 1.0])
def test_samples_are_a_number(cache, n):
    made = ai_cached(ScriptedModel().function("sync"), cache=cache)
    with pytest.raises(ConfigurationError, match="number of answers"):
        made.cache_samples(n, "hi")


def test_a_sample_that_fails_raises_its_own_exception(cache, colour, run):
    ask = ai_cached(ScriptedModel("a", ValueError("no")).function(colour), cache=cache)
    with pytest.raises(ValueError, match="no"):
        run(ask.cache_samples(2, "hi"))


@pytest.mark.parametrize(
    ("options", "settings", "why"),
    [
        ({"on_unkeyable": "bypass", "scope": None}, {}, "unkeyable"),
        ({"scope": lambda *_, **__: None}, {}, "no scope"),
        ({}, {"require_scope": True}, "no scope"),
    ],
    ids=["unkeyable", "scope yields None", "scope is required"],
)
def test_the_methods_of_a_call_that_bypasses_the_cache(colour, run, options, settings, why):
    """There is nothing to find, keep or forget; the function is called all the same."""
    model = ScriptedModel("answer")
    ask = ai_cached(model.function(colour), cache=Cache("memory://", **settings), **options)
    argument = object() if why == "unkeyable" else "hi"
    assert run(ask.cache_contains(argument)) is False
    assert run(ask.cache_put("put", argument)) is False
    assert "answer" == run(ask.cache_refresh(argument))
    assert ["answer"] * 2 == run(ask.cache_samples(2, argument))
    assert run(ask.cache_invalidate(argument)) is None
    with pytest.raises(UnkeyableArgument, match=why):
        ask.cache_key(argument)


def test_the_methods_raise_what_a_call_would_raise(cache, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    for method in (ask.cache_contains, ask.cache_invalidate, ask.cache_refresh, functools.partial(ask.cache_put, "v")):
        with pytest.raises(UnkeyableArgument, match="prompt"):
            run(method(object()))


# Colour --------------------------------------------------------------------------------------------------------------


async def coroutine_function(): ...


@pytest.mark.parametrize(
    ("expected", "function"),
    [
        ("sync", len),
        ("sync", lambda: None),
        ("sync", int),
        ("async", coroutine_function),
        ("async", functools.partial(coroutine_function)),
        ("async", functools.partial(functools.partial(coroutine_function))),
        ("async", staticmethod(coroutine_function)),
        ("async", classmethod(coroutine_function)),
        ("async", functools.wraps(coroutine_function)(lambda: coroutine_function())),
        ("async", ScriptedModel().acall),
        ("sync", ScriptedModel()),
    ],
)
def test_colour_is_found_at_the_bottom(expected, function):
    assert expected == colour_of(function)


@pytest.mark.parametrize("sdk", [openai, anthropic])
def test_the_methods_of_async_clients_are_async(sdk):
    client = getattr(sdk, "AsyncOpenAI" if sdk is openai else "AsyncAnthropic")(api_key="any")
    create = client.chat.completions.create if sdk is openai else client.messages.create
    assert "async" == colour_of(create)
    blocking = getattr(sdk, "OpenAI" if sdk is openai else "Anthropic")(api_key="any")
    assert "sync" == colour_of(blocking.chat.completions.create if sdk is openai else blocking.messages.create)
    blocking.close()
    asyncio.run(client.close())


def test_a_sync_function_that_returns_an_awaitable_gets_it_back_with_one_warning(cache, warned):
    made = []

    def ask(prompt):
        made.append(answer(prompt))
        return made[-1]

    async def answer(prompt):
        return prompt

    cached = ai_cached(ask, cache=cache)
    first, second = cached("hi"), cached("hi")
    assert made == [first, second]
    (warning,) = warned()
    assert "colour='async'" in warning
    for each in made:
        assert "hi" == asyncio.run(each)


def test_colour_says_what_cannot_be_seen(cache):
    model = ScriptedModel()

    def ask(prompt):
        return model.acall(prompt)

    cached = ai_cached(ask, cache=cache, colour="async")

    async def main():
        return [await cached("hi"), await cached("hi"), await cached.cache_contains("hi")]

    assert ["hi", "hi", True] == asyncio.run(main())
    assert 1 == model.calls


def test_a_returned_iterator_is_handed_through_untouched(cache, colour, run, warned):
    """An iterator without an end of its own is no stream; nobody but the caller may take anything out of one."""

    def ask(prompt):
        return iter([prompt, "more"])

    async def aask(prompt):
        return iter([prompt, "more"])

    cached = ai_cached(aask if colour == "async" else ask, cache=cache)
    assert [["hi", "more"]] * 2 == [list(run(cached("hi"))) for _ in range(2)]
    assert 1 == len(warned())
