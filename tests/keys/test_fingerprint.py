"""A function's version: its code and what it reads, and nothing else."""

from __future__ import annotations

import functools
import inspect
import logging
import threading
import types

import anthropic
import openai
import pytest

from aicached import ai_cached
from aicached.keys.fingerprint import Fingerprint, same
from tests.keys.calls import call, key, keyer, module, version

ASK = "def ask(prompt):\n    return MODEL + prompt\nMODEL = 'small'\n"


def fingerprint(function, pinned=None, ignore=()):
    return Fingerprint(function, pinned, frozenset(ignore))


def reread(made, place, **names):
    """Return whether a fingerprint has another version once *names* in a module are bound anew."""
    before = made.current()
    vars(place).update(names)
    return made.current() != before


# Code ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edited",
    [
        ASK.replace("MODEL + prompt", "prompt + MODEL"),
        ASK.replace("+ prompt", "+ prompt + '!'"),
        ASK.replace("    return", "    prompt = prompt.strip()\n    return"),
        ASK.replace("'small'", "'large'"),
        ASK.replace("def ask", "async def ask"),
    ],
)
def test_edited_code_is_another_version(edited):
    assert version(module(ASK).ask) == version(module(ASK).ask)
    assert version(module(ASK).ask) != version(module(edited).ask)


def test_code_that_was_moved_renamed_or_decorated_is_the_same_version():
    plain = version(module(ASK).ask)
    assert version(module(ASK, filename="/elsewhere/other.py", line=1000).ask) == plain
    assert version(module(ASK, name="another_module").ask) == plain
    assert version(module("def keep(f): return f\n@keep\n" + ASK).ask) == plain
    assert version(module("def another(): return 1\n" + ASK + "OTHER = 2\n").ask) == plain


def test_the_docstring_may_move_but_is_a_constant_like_others():
    documented = ASK.replace("    return", "    'Ask.'\n    return")
    assert version(module(documented).ask) == version(module(documented, line=9).ask)


def test_the_source_file_is_not_read(tmp_path):
    """The file may have been edited since: the running old code must not get the new code's version."""
    file = tmp_path / "program.py"
    file.write_text(ASK)
    before = version(module(ASK, filename=str(file)).ask)
    file.write_text(ASK.replace("+ prompt", ""))
    assert version(module(ASK, filename=str(file)).ask) == before


def test_a_function_of_an_installed_package_counts_as_name_and_major_version():
    made = fingerprint(inspect.unwrap(openai.OpenAI.__init__))
    assert made.base == ["code", f"openai {openai.__version__.split('.')[0]}"]


# Globals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["large", 1, 1.0, True, None, b"small", ("small", 1), ("small", ("a", None)), (), 2**70, "\ud800"]
)
def test_constants_are_followed_and_told_apart_by_type(value):
    made = module(ASK)
    followed = fingerprint(made.ask)
    assert reread(followed, made, MODEL=value)
    assert followed.current() == version(made.ask)


def test_one_and_true_and_zeros_of_two_signs_are_told_apart():
    made = module(ASK)
    seen = []
    for value in (1, True, 1.0, 0.0, -0.0, 0, False, (1,), (True,)):
        made.MODEL = value
        seen.append(version(made.ask))
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(("value", "equal"), [(1, True), (1, 1.0), (0.0, -0.0), ((1,), (True,)), (False, 0)])
def test_a_constant_bound_anew_to_what_is_merely_equal_is_noticed(value, equal):
    made = module(ASK)
    made.MODEL = value
    assert reread(fingerprint(made.ask), made, MODEL=equal)


def test_a_constant_that_comes_back_brings_its_version_back():
    made = module(ASK)
    followed = fingerprint(made.ask)
    before = followed.current()
    assert reread(followed, made, MODEL="large")
    made.MODEL = "".join(["sm", "all"])
    assert followed.current() == before


def test_a_name_may_be_defined_later_and_go_away():
    made = module("def ask(): return LATER")
    followed = fingerprint(made.ask)
    without = followed.current()
    assert reread(followed, made, LATER=1)
    del made.LATER
    assert followed.current() == without


def test_a_constant_that_hides_a_builtin_is_noticed():
    made = module("def ask(x): return len(x)")
    assert reread(fingerprint(made.ask), made, len=3)


def test_names_in_nested_functions_and_comprehensions_are_followed():
    made = module("def ask():\n    def inner(): return [A for _ in (lambda: B)()]\n    return inner\nA = B = 1")
    followed = fingerprint(made.ask)
    assert reread(followed, made, A=2)
    assert reread(followed, made, B=2)


@pytest.mark.parametrize(
    "value", [["a"], {"a": 1}, {1}, len, print, object(), types.SimpleNamespace(a=1), 3j.conjugate]
)
def test_what_is_no_constant_is_not_followed_among_globals(value):
    made = module("def ask(): return THING\nTHING = []")
    assert not reread(fingerprint(made.ask), made, THING=value)


def test_names_that_the_function_assigns_are_not_followed():
    made = module("def ask():\n    global COUNT\n    COUNT = COUNT + 1\nCOUNT = 0")
    followed = fingerprint(made.ask)
    before = followed.current()
    made.ask()
    assert followed.current() == before
    assert followed.view.followed == {}


def test_names_that_say_where_code_lives_are_not_followed_but_private_ones_are():
    made = module("def ask(): return __file__, __name__, __PROMPT\n__PROMPT = 'a'\n__file__ = 'a'")
    followed = fingerprint(made.ask)
    assert not reread(followed, made, __file__="b", __name__="c")
    assert reread(followed, made, __PROMPT="b")


CONFIG = "def ask(): return config.MODEL, pkg.sub.SIZE"


def configured():
    made = module(CONFIG)
    made.config, made.pkg = types.ModuleType("config"), types.ModuleType("pkg")
    made.config.MODEL, made.pkg.sub = "small", types.ModuleType("pkg.sub")
    made.pkg.sub.SIZE = 1
    return made


def test_attributes_of_modules_are_followed_through_submodules():
    made = configured()
    followed = fingerprint(made.ask)
    assert sorted(followed.view.followed) == ["config.MODEL", "pkg.sub.SIZE"]
    assert reread(followed, made.config, MODEL="large")
    assert reread(followed, made.pkg.sub, SIZE=2)
    assert not reread(followed, made.config, OTHER=1)


def test_a_module_that_is_replaced_is_noticed():
    made = configured()
    followed = fingerprint(made.ask)
    other = types.ModuleType("config")
    other.MODEL = "large"
    assert reread(followed, made, config=other)
    assert reread(followed, made.pkg, sub=other)


@pytest.mark.parametrize("ignore", ["MODEL", "config.MODEL", "config"])
def test_ignore_leaves_a_followed_name_out(ignore):
    made = configured()
    followed = fingerprint(made.ask, ignore=(ignore,))
    assert ignore in followed.names()
    assert not reread(followed, made.config, MODEL="large")
    assert reread(followed, made.pkg.sub, SIZE=2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "x"),
        ("secret", "x"),
        ("PASSWORD", "x"),
        ("access_token", "x"),
        ("auth_token", "x"),
        ("KEY", "sk-1"),
        ("K", "Bearer 1"),
    ],
)
def test_credentials_are_left_out(name, value):
    made = module(f"def ask(): return {name}\n{name} = 'sk-0'")
    assert not reread(fingerprint(made.ask), made, **{name: value})


def test_what_only_sounds_like_a_credential_is_followed():
    made = module("def ask(): return MAX_TOKENS\nMAX_TOKENS = 1")
    assert reread(fingerprint(made.ask), made, MAX_TOKENS=2)


def test_a_client_among_the_globals_is_followed_also_when_it_changes_in_place():
    made = module("def ask(): return client.chat.completions.create()")
    made.client = openai.OpenAI(api_key="a")
    followed = fingerprint(made.ask)
    assert list(followed.view.followed) == ["client"]
    before = followed.current()
    assert reread(followed, made, client=openai.OpenAI(api_key="a", base_url="http://localhost:1"))
    assert not reread(followed, made, client=openai.OpenAI(api_key="other", base_url="http://localhost:1"))
    made.client.base_url = "http://localhost:2"
    changed = followed.current()
    made.client.default_headers  # noqa: B018
    made.client._custom_headers["X-Team"] = "a"
    assert len({before, changed, followed.current()}) == 3
    assert reread(followed, made, client=anthropic.Anthropic(api_key="a"))


@pytest.mark.parametrize(
    "client",
    [
        openai.OpenAI(api_key="a"),
        openai.AsyncOpenAI(api_key="a"),
        openai.AzureOpenAI(api_key="a", azure_endpoint="https://a", api_version="1"),
        anthropic.Anthropic(api_key="a"),
        anthropic.AsyncAnthropic(api_key="a"),
    ],
    ids=lambda client: type(client).__name__,
)
def test_a_client_is_asked_for_its_parts_and_not_looked_at_anew_each_time(client, monkeypatch):
    made = module("def ask(): return client")
    made.client = client
    followed = fingerprint(made.ask)
    monkeypatch.setattr(followed, "reread", lambda: pytest.fail("looked at anew"))
    assert followed.current() == followed.current()


# Closures ------------------------------------------------------------------------------------------------------------


def make(held):
    def ask(prompt):
        return held

    return ask


class Keyed:
    def __init__(self, name):
        self.name = name

    def __cache_key__(self):
        return self.name


class Answer:
    text: str


def test_functions_of_one_factory_over_different_things_are_different_versions():
    clients = [openai.OpenAI(api_key="a"), openai.OpenAI(api_key="a", base_url="http://localhost:1")]
    held = [
        1,
        True,
        1.0,
        "a",
        None,
        (1,),
        (True,),
        len,
        make(1),
        make(2),
        Answer,
        Keyed,
        Keyed("a"),
        Keyed("b"),
        *clients,
        clients[0].chat,
    ]
    made = [version(make(each)) for each in held]
    assert len(set(made)) == len(held)
    assert made == [version(make(each)) for each in held]


def test_a_pinned_version_pins_code_and_globals_but_not_the_closure():
    edited = ASK.replace("MODEL + prompt", "prompt").replace("small", "large")
    assert version(module(ASK).ask, "v1") == version(module(edited).ask, "v1")
    assert version(module(ASK).ask, "v1") != version(module(ASK).ask, "v2")
    assert version(module(ASK).ask, 1) != version(module(ASK).ask, True)
    assert version(make(1), "v1") != version(make(2), "v1")


def test_a_version_may_hold_a_function_and_what_it_does():
    def at(number):
        return lambda: number

    assert version(make(1), (at(1), ("a",))) == version(make(1), (at(1), ("a",)))
    assert version(make(1), (at(1), ("a",))) != version(make(1), (at(2), ("a",)))


@pytest.mark.parametrize(
    ("one", "other"), [(["a"], ["b"]), ({"a": 1}, {"a": 2}), (object(), object()), (logging, inspect)]
)
def test_what_is_not_followed_in_a_closure_is_listed(one, other):
    assert version(make(one)) == version(make(other))
    assert fingerprint(make(one)).view.unfollowed == {"held": one}


def test_a_nonlocal_that_is_bound_anew_is_noticed():
    def outer(model):
        def ask():
            return model

        def choose(other):
            nonlocal model
            model = other

        return ask, choose

    ask, choose = outer("small")
    followed = fingerprint(ask)
    seen = [followed.current()]
    for value in (1, True, 1.0, "small"):
        choose(value)
        seen.append(followed.current())
    assert len(set(seen)) == 4
    assert seen[0] == seen[-1]


def test_a_cell_that_is_not_bound_yet_is_noticed_when_it_is():
    def outer():
        def ask():
            return later

        followed = fingerprint(ask)
        before = followed.current()
        later = "small"
        return before, followed.current(), version(ask)

    before, after, fresh = outer()
    assert before != after
    assert after == fresh


def test_ignore_and_credentials_hold_for_closures_too():
    def outer(model, api_key):
        return lambda: (model, api_key)

    assert version(outer("a", "1")) == version(outer("a", "2"))
    assert version(outer("a", "1"), ignore=("model",)) == version(outer("b", "1"), ignore=("model",))
    assert version(outer("a", "1")) != version(outer("b", "1"))


def test_a_recursive_function_has_a_version():
    def outer(limit):
        def ask(n):
            return other(n) if n < limit else n

        def other(n):
            return ask(n + 1)

        return ask

    assert version(outer(1)) == version(outer(1))
    assert version(outer(1)) != version(outer(2))
    assert version(outer(1), "v1") == version(outer(1), "v1")


def helper_over(held):
    def helper(prompt, style="plain", *, tone="kind"):
        return held

    return helper


@pytest.mark.parametrize("value", [True, 1.0, "other", (1,), None])
def test_a_closed_over_function_that_is_changed_in_place_is_noticed(value):
    for change in ("__defaults__", "__kwdefaults__", "cell", "__code__"):
        helper = helper_over(1)
        helper.__defaults__, helper.__kwdefaults__ = (1,), {"tone": 1}
        followed = fingerprint(make(helper))
        before = followed.current()
        if change == "__defaults__":
            helper.__defaults__ = (value,)
        elif change == "__kwdefaults__":
            helper.__kwdefaults__["tone"] = value
        elif change == "cell":
            helper.__closure__[0].cell_contents = value
        else:
            helper.__code__ = make(1).__code__
        assert followed.current() != before, change


def test_what_a_closed_over_function_holds_is_watched_all_the_way_down():
    client, keyed = openai.OpenAI(api_key="a"), Keyed("a")
    followed = fingerprint(make(helper_over(helper_over(client))))
    before = followed.current()
    client.base_url = "http://localhost:1"
    assert followed.current() != before

    followed = fingerprint(make(helper_over(helper_over(keyed))))
    before = followed.current()
    keyed.name = "b"
    assert followed.current() != before


def test_a_list_that_a_closed_over_function_holds_is_not_followed_and_listed():
    assert version(make(helper_over(["a"]))) == version(make(helper_over(["b"])))
    assert list(fingerprint(make(helper_over(["a"]))).view.unfollowed) == ["held"]


def test_of_a_closed_over_function_that_holds_a_plain_object_the_rest_still_counts():
    plain = object()

    def helper_over(model):
        def helper():
            return plain, model

        return helper

    assert version(make(helper_over("a"))) != version(make(helper_over("b")))
    assert "held" in fingerprint(make(helper_over("a"))).view.unfollowed


def test_a_closed_over_object_with_a_key_that_changes_in_place_is_noticed():
    keyed = Keyed("a")
    followed = fingerprint(make(keyed))
    before = followed.current()
    keyed.name = "b"
    assert followed.current() != before
    keyed.name = object()
    assert followed.current() != before


def test_a_closed_over_cached_function_counts_as_the_function_it_is():
    cached = [ai_cached(make(number), cache="memory://") for number in (1, 2)]
    assert version(make(cached[0])) == version(make(make(1)))
    assert version(make(cached[0])) != version(make(cached[1]))


# Decorators in between -----------------------------------------------------------------------------------------------

DECORATED = """
import functools
def twice(times):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return [function(*args, **kwargs) for _ in range(times)]
        return wrapper
    return decorate
@twice(TIMES)
def ask(prompt):
    return MODEL + prompt
"""


def decorated(model="small", times=2, source=DECORATED):
    return module(f"MODEL, TIMES = {model!r}, {times}\n" + source)


def test_code_and_constants_below_a_decorator_count():
    before = version(decorated().ask)
    assert version(decorated().ask) == before
    assert version(decorated(source=DECORATED.replace("+ prompt", "+ '!'")).ask) != before
    assert version(decorated(times=3).ask) != before
    made = decorated()
    assert reread(fingerprint(made.ask), made, MODEL="large")


def test_code_and_constants_below_lru_cache_count():
    source = "import functools\n@functools.lru_cache\n" + ASK
    made = module(source)
    assert reread(fingerprint(made.ask), made, MODEL="large")
    assert version(module(source).ask) != version(module(source.replace("+ prompt", "")).ask)


def test_a_client_below_a_decorator_is_known():
    made = module("import functools\n@functools.lru_cache\ndef ask(): return client.chat")
    made.client = openai.OpenAI(api_key="a")
    assert fingerprint(made.ask).view.clients == [made.client]


# Callables without code of their own ---------------------------------------------------------------------------------


def test_a_builtin_has_a_version():
    assert version(len) == version(len)
    assert version("a".join) != version("b".join)


# Names that never rest -----------------------------------------------------------------------------------------------


def test_a_counter_among_the_globals_gets_one_warning_that_names_it(caplog):
    made = module("def ask(): return COUNT, MODEL\nCOUNT = 0\nMODEL = 'small'")
    followed = fingerprint(made.ask)
    for number in range(1, 50):
        made.COUNT = number
        followed.current()
    assert caplog.records == []
    for number in range(50, 200):
        made.COUNT = number
        followed.current()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "'COUNT'" in record.getMessage()
    assert "ignore=('COUNT',)" in record.getMessage()
    assert "MODEL" not in record.getMessage()


# Threads -------------------------------------------------------------------------------------------------------------


def race(followed, bind, versions, rounds=300):
    """Bind anew while many threads ask; nobody who asks after a binding gets an older version."""
    newest, wrong, over = [0], [], threading.Event()

    def work():
        while not over.is_set():
            least = newest[0]
            got = followed()
            if versions.index(got) < least:
                wrong.append((least, versions.index(got)))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for number in range(len(versions)):
        bind(number)
        newest[0] = number
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nobody_gets_an_old_version_once_a_constant_is_bound_anew(impatient):
    made = module(ASK)
    versions = []
    for number in range(300):
        made.MODEL = number
        versions.append(version(made.ask))
    made.MODEL = 0
    race(fingerprint(made.ask).current, lambda number: setattr(made, "MODEL", number), versions)


def test_nobody_gets_an_old_key_once_a_cell_is_bound_anew(impatient):
    ask = make(0)
    cell = ask.__closure__[0]

    def bind(number):
        cell.cell_contents = number

    versions = []
    for number in range(300):
        bind(number)
        versions.append(key(ask, "hi"))
    bind(0)
    made = keyer(ask)
    race(lambda: call(made, "hi"), bind, versions)


# The comparison ------------------------------------------------------------------------------------------------------


def test_parts_are_compared_by_identity_and_never_by_equality():
    class Yes:
        def __eq__(self, other):
            return True

        __hash__ = None

    one, shared = Yes(), object()
    assert same((shared, (shared, b"a")), (shared, (shared, bytes([97]))))
    for now, last in ((1, True), ((0.0,), (-0.0,)), ((1,), (1, 1)), (one, Yes()), ((), []), (b"a", b"b")):
        assert not same(now, last)


def test_functools_partial_is_looked_through_by_the_keyer():
    made = module(ASK)
    keys = keyer(functools.partial(made.ask, "hi"))
    before = call(keys)
    made.MODEL = "large"
    assert call(keys) != before
