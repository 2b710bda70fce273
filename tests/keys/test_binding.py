"""Every spelling of a call gives one list of values."""

from __future__ import annotations

import functools
import operator

import pytest

from aicached import ConfigurationError, UnkeyableArgument
from aicached.keys.binding import Binder, check_names, subject_of
from tests.keys.calls import call, key, keyer


def every_kind(a, b=2, /, c=3, *args, d, e=5, **kwargs):
    pass


def ask(prompt, *, model="small", temperature=0.0):
    pass


def open_ask(prompt, **options):
    pass


def test_one_call_in_every_spelling_has_one_key():
    made = keyer(ask)
    spellings = [
        call(made, "hi"),
        call(made, prompt="hi"),
        call(made, "hi", model="small"),
        call(made, temperature=0.0, model="small", prompt="hi"),
    ]
    assert len(set(spellings)) == 1


def test_every_kind_of_parameter_is_bound_as_python_binds_it():
    made = Binder(every_kind)
    assert made.values((1,), {"d": 4}) == [1, 2, 3, (), 4, 5, {}]
    assert made.values((1, 9, 8, 7, 6), {"d": 4, "e": 0, "a": "other", "z": 1}) == [
        1,
        9,
        8,
        (7, 6),
        4,
        0,
        {"a": "other", "z": 1},
    ]
    assert made.values((), {"d": 4}) is None
    assert made.values((1,), {}) is None


@pytest.mark.parametrize(
    "other",
    [
        {"args": (2,), "d": 4}, {"args": (1, 3), "d": 4}, {"args": (1,), "d": 5}, {"args": (1,), "d": 4, "e": 6},
        {"args": (1,), "d": 4, "z": None}, {"args": (1,), "d": 4, "a": 1}, {"args": (1, 2, 3, None), "d": 4},
        {"args": (True,), "d": 4},
        {"args": (1,), "d": 4, "kwargs": {}}, {"args": (1, 2, 3, ()), "d": 4},
    ],
)  # fmt: skip
def test_every_argument_counts(other):
    made = keyer(every_kind)
    args = other.pop("args")
    assert call(made, 1, d=4) != call(made, *args, **other)


def test_extra_keywords_in_another_order_are_the_same_call():
    assert key(open_ask, "hi", a=1, b=2) == key(open_ask, "hi", b=2, a=1)


def test_a_default_that_changes_makes_another_key():
    def at(default):
        def ask(prompt, model=default):
            pass

        return ask

    assert key(at("small"), "hi") != key(at("large"), "hi")
    assert key(at("small"), "hi") == key(at("large"), "hi", "small")


@pytest.mark.parametrize("name", ["self", "cls", "bind", "list", "None_", "args", "kwargs", "function", "value", "é"])
def test_no_name_of_a_parameter_is_special(name):
    space = {}
    exec(f"def ask({name}, other=1): pass", space)
    assert key(space["ask"], 5) == key(space["ask"], **{name: 5})
    assert key(space["ask"], 5) != key(space["ask"], 6)


def test_two_parameters_that_swap_their_values_are_two_calls():
    def ask(a, b):
        pass

    assert key(ask, 1, 2) == key(ask, b=2, a=1)
    assert key(ask, 1, 2) != key(ask, 2, 1)


# Calls that do not fit -----------------------------------------------------------------------------------------------


def test_a_wrong_call_has_a_key_of_its_own_and_raises_nothing():
    made = keyer(ask)
    wrong = [call(made), call(made, "hi", "extra"), call(made, "hi", unknown=1), call(made, "hi", prompt="hi")]
    assert len({*wrong, call(made, "hi")}) == 5


def test_a_builtin_without_a_signature_counts_its_raw_arguments():
    made = keyer(max)
    assert made.binder.parameters is None
    assert call(made, 1, 2) == call(made, 1, 2)
    assert len({call(made, 1, 2), call(made, 2, 1), call(made, [1, 2]), call(made, 1, 2, key=len)}) == 4


def test_a_decorator_that_injects_an_argument_makes_its_signature_lie_and_the_raw_arguments_count():
    def with_client(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function("client", *args, **kwargs)

        return wrapper

    @with_client
    def ask(client, prompt):
        return prompt

    assert ask("hi") == "hi"
    assert key(ask, "hi") == key(ask, "hi")
    assert key(ask, "hi") != key(ask, "ho")


# Defaults that have no content ---------------------------------------------------------------------------------------

OMIT = object()


def sdk(prompt, temperature=OMIT, *, top=OMIT):
    pass


def test_an_unkeyable_default_left_out_or_passed_is_one_call():
    made = keyer(sdk)
    assert call(made, "hi") == call(made, "hi", OMIT) == call(made, "hi", top=OMIT, temperature=OMIT)


def test_no_value_imitates_an_unkeyable_default():
    made = keyer(sdk)
    keys = [call(made, "hi")] + [call(made, "hi", value) for value in (None, [], [None], "OMIT", (None,), "default", 0)]
    assert len(set(keys)) == len(keys)


def test_another_object_without_content_is_unkeyable_where_the_default_is_one():
    with pytest.raises(UnkeyableArgument, match="temperature is a builtins.object"):
        call(keyer(sdk), "hi", object())


# key=, ignore=, normalize= -------------------------------------------------------------------------------------------


def test_key_names_the_only_parameters_that_count():
    made = keyer(ask, key=("prompt",))
    assert call(made, "hi", model="a") == call(made, "hi", model="b")
    assert call(made, "hi") != call(made, "ho")


def test_key_may_name_keywords_that_only_kwargs_take():
    made = keyer(open_ask, key=("prompt", "model"))
    assert call(made, "hi", model="a", trace=1) == call(made, "hi", model="a", trace=2)
    assert len({call(made, "hi", model="a"), call(made, "hi", model="b"), call(made, "hi")}) == 3


def test_key_that_names_the_kwargs_themselves_counts_them_all():
    made = keyer(open_ask, key=("options",))
    assert call(made, "hi", model="a") == call(made, "ho", model="a")
    assert call(made, "hi", model="a") != call(made, "hi", model="b")


def test_key_as_a_function_replaces_the_arguments():
    made = keyer(ask, key=lambda prompt, model="small", **rest: (prompt.lower(), model))
    assert call(made, "HI", temperature=1.0) == call(made, "hi")
    assert call(made, "hi", model="large") != call(made, "hi")


def test_key_as_a_function_and_as_names_do_not_meet():
    assert call(keyer(ask, key=lambda prompt: prompt), "hi") != call(keyer(ask, key=("prompt",)), "hi")


def test_ignored_names_do_not_count_wherever_they_are_passed():
    made = keyer(every_kind, ignore=("c", "d", "trace"))
    assert call(made, 1, 2, 3, d=4, trace=1) == call(made, 1, 2, 8, d=9, trace=2) == call(made, 1, d=0)
    assert call(made, 1, d=4) != call(made, 1, d=4, other=1)


def test_ignoring_the_kwargs_themselves_leaves_them_all_out():
    made = keyer(open_ask, ignore=("options",))
    assert call(made, "hi", a=1) == call(made, "hi", b=2)


def test_a_positional_only_parameter_and_a_keyword_of_its_name_are_two_things():
    def ask(prompt, /, **options):
        pass

    made = keyer(ask, ignore=("prompt",))
    assert call(made, "hi") == call(made, "ho")
    assert call(made, "hi", prompt=1) != call(made, "hi", prompt=2)


def test_normalize_holds_for_every_spelling_and_the_default():
    def ask(prompt=" HI "):
        pass

    made = keyer(ask, normalize={"prompt": lambda text: text.strip().lower()})
    assert call(made) == call(made, "hi") == call(made, prompt="Hi ")
    assert call(made, "ho") != call(made)


def test_normalize_reaches_keywords_that_only_kwargs_take():
    made = keyer(open_ask, normalize={"system": str.strip})
    assert call(made, "hi", system=" be kind ") == call(made, "hi", system="be kind")
    assert call(made, " hi ") != call(made, "hi")


def test_normalize_never_sees_an_unkeyable_default():
    made = keyer(sdk, normalize={"temperature": float})
    assert call(made, "hi", 1) == call(made, "hi", 1.0)
    assert call(made, "hi") == call(made, "hi", OMIT)


def test_what_normalize_raises_is_raised():
    made = keyer(ask, normalize={"prompt": str.strip})
    with pytest.raises(TypeError, match="strip"):
        call(made, 1)


def test_normalize_does_not_change_the_arguments_themselves():
    made, options = keyer(open_ask, normalize={"system": str.strip}), {"system": " a "}
    call(made, "hi", **options)
    assert options == {"system": " a "}


def test_a_name_that_the_function_lacks_is_refused_unless_it_takes_kwargs():
    with pytest.raises(
        ConfigurationError, match=r"ignore: .*ask\(\) has no parameter 'promt'; it has prompt, model, temperature"
    ):
        check_names(Binder(ask), ["promt"], "ignore", ask)
    check_names(Binder(open_ask), ["promt"], "ignore", open_ask)
    check_names(Binder(max), ["promt"], "ignore", max)


# What a callable comes down to ---------------------------------------------------------------------------------------


class Agent:
    def __init__(self, name):
        self.name = name

    def __cache_key__(self):
        return self.name

    def ask(self, prompt, model="small"):
        pass

    def __call__(self, prompt):
        pass

    @classmethod
    def make(cls, prompt):
        pass


def test_a_partial_counts_with_its_arguments():
    made = functools.partial(ask, model="large")
    assert call(keyer(made), "hi") == call(keyer(ask), "hi", model="large")
    assert call(keyer(functools.partial(ask, "hi"))) == call(keyer(ask), "hi")
    assert call(keyer(made), "hi", model="small") == call(keyer(ask), "hi")


def test_a_bound_method_counts_with_its_self():
    assert key(Agent("a").ask, "hi") == key(Agent("a").ask, prompt="hi", model="small")
    assert key(Agent("a").ask, "hi") != key(Agent("b").ask, "hi")


def test_a_bound_method_and_the_function_with_its_instance_are_one_call():
    made = keyer(Agent.ask)
    agent = Agent("a")
    assert made.key(agent, ("hi",), {}, (), 0)[1] == key(agent.ask, "hi")


def test_a_text_in_the_place_of_self_is_not_taken_for_an_instance():
    made = keyer(Agent.ask)
    agent = Agent("a")
    imitation = made._owner_digest(agent)
    assert made.key(agent, ("hi",), {}, (), 0)[1] != call(made, imitation, "hi")


def test_an_object_with_call_counts_with_its_content():
    assert key(Agent("a"), "hi") != key(Agent("b"), "hi")


def test_callables_made_in_c_count_with_their_content_or_are_one_by_name():
    assert subject_of(Agent.__dict__["make"]).function is Agent.__dict__["make"].__func__
    assert key("a".join, ["b"]) != key("c".join, ["b"])
    assert key(operator.add, 1, 2) != key(operator.sub, 1, 2)
