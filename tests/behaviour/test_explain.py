"""Why a call hits or misses, from digests alone; and the warning after 50 misses."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import os
from contextvars import ContextVar

import openai
import pytest

from aicached import Cache, StoreError, UnkeyableArgument, Usage, ai_cached, mode, sample, scope
from aicached.explain import Explanation
from aicached.stores.base import Store
from aicached.stores.memory import MemoryStore
from aicached.testing import FlakyStore, ScriptedModel

MODEL = "small"
CLIENT = None
TENANT: ContextVar[str] = ContextVar("tenant")
CHAT = {
    "object": "chat.completion",
    "model": "small",
    "choices": [{"finish_reason": "stop", "message": {"content": "hi"}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 200},
}


@pytest.fixture
def ask(any_cache, colour):
    return ai_cached(ScriptedModel().function(colour), cache=any_cache)


def coloured(function, colour):
    """Give the function itself, or a coroutine function around it."""

    @functools.wraps(function)
    async def afunction(*args, **kwargs):
        return function(*args, **kwargs)

    return afunction if colour == "async" else function


def too_wide(text):
    """Give the lines that do not fit into 80 columns."""
    return [line for line in str(text).splitlines() if len(line) > 80]


# A hit ----------------------------------------------------------------------------------------------------------------


def test_a_hit_tells_its_age_and_what_is_left(ask, clock, run):
    run(ask.cache_with(ttl=9)("hi"))
    clock.advance(4)
    found = run(ask.cache_explain("hi"))
    assert (True, "", ()) == (found.hit, found.reason, found.differs)
    assert (pytest.approx(4, abs=0.01), pytest.approx(5, abs=0.01)) == (found.age, found.ttl)
    assert ask.cache_key("hi") == found.key


def test_a_hit_tells_tokens_and_cost(store, colour, run):
    ask = ai_cached(ScriptedModel(CHAT).function(colour), cache=Cache(store, prices={"small": (3, 15)}))
    run(ask("hi"))
    assert Usage("small", 1000, 200, pytest.approx(0.006)) == run(ask.cache_explain("hi")).usage


def test_a_hit_for_ever_has_no_ttl(ask, clock, run):
    run(ask.cache_with(ttl=None)("hi"))
    clock.advance(1e9)
    found = run(ask.cache_explain("hi"))
    assert (True, None) == (found.hit, found.ttl)


def test_an_answer_that_was_put_hits(ask, run):
    run(ask.cache_put("put", "hi"))
    assert run(ask.cache_explain("hi")).hit is True
    assert ("prompt",) == run(ask.cache_explain("ho")).differs


def test_a_hit_in_a_sample_and_a_scope(ask, run):
    with scope("tenant"), sample(3):
        run(ask("hi"))
        assert run(ask.cache_explain("hi")).hit is True
    assert ("scope", "sample") == run(ask.cache_explain("hi")).differs


# What differs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "differs"),
    [
        (["ho"], {}, ("prompt",)),
        (["hi"], {"model": "large"}, ("model",)),
        (["ho"], {"model": "large"}, ("prompt", "model")),
        (["hi"], {"seed": 1}, ("seed",)),
        ([["hi"]], {}, ("prompt",)),
        ([1], {"model": None, "a": 1, "b": 2}, ("prompt", "model", "a", "b")),
    ],
    ids=str,
)
def test_arguments_that_differ_are_named_in_the_order_of_the_signature(ask, run, args, kwargs, differs):
    run(ask("hi"))
    found = run(ask.cache_explain(*args, **kwargs))
    assert (False, "", differs, 1) == (found.hit, found.reason, found.differs, found.compared)


def test_a_keyword_that_only_the_stored_call_has(ask, run):
    run(ask("hi", seed=1))
    assert ("seed",) == run(ask.cache_explain("hi")).differs
    assert ("seed",) == run(ask.cache_explain("hi", seed=2)).differs


def test_the_nearest_stored_call_is_compared_and_the_newest_wins_a_tie(ask, clock, run):
    run(ask("hi", model="a", seed=1))
    clock.advance(1)
    run(ask("ho", model="b"))
    clock.advance(1)
    run(ask("hi", model="b"))
    clock.advance(1)
    run(ask("hi", model="d"))
    clock.advance(60)
    found = run(ask.cache_explain("hi", model="c"))
    assert (("model",), 4) == (found.differs, found.compared)
    assert pytest.approx(60, abs=0.01) == found.age


def test_positional_arguments_that_are_collected_have_one_name(any_cache, colour, run):
    ask = ai_cached(coloured(lambda *prompts: "answer", colour), cache=any_cache)
    run(ask("a", "b"))
    assert ("prompts",) == run(ask.cache_explain("a", "c")).differs


def test_what_a_method_is_bound_to_is_called_self(any_cache, colour, run):
    class Assistant:
        def __init__(self, tone):
            self.tone = tone

        def __cache_key__(self):
            return self.tone

        ask = ai_cached(coloured(lambda self, prompt: "answer", colour), cache=any_cache)

    run(Assistant("kind").ask("hi"))
    assert ("self",) == run(Assistant("rude").ask.cache_explain("hi")).differs
    assert ("prompt",) == run(Assistant("kind").ask.cache_explain("ho")).differs
    assert run(Assistant("kind").ask.cache_explain("hi")).hit is True


def test_scopes_and_samples(ask, run):
    with scope("a"):
        run(ask("hi"))
        with scope("b"):
            assert ("scope",) == run(ask.cache_explain("hi")).differs
        with sample(2):
            assert ("sample",) == run(ask.cache_explain("hi")).differs
        assert ("prompt",) == run(ask.cache_explain("ho")).differs
    assert ("scope",) == run(ask.cache_explain("hi")).differs


def made(source, colour, cache, **options):
    """Compile a function named `ask` anew, as an edit and a reload would."""
    space = {"__name__": __name__}
    exec(f"{'async ' if colour == 'async' else ''}def ask(prompt): {source}", space)
    return ai_cached(space["ask"], cache=cache, **options)


def test_code_that_was_edited(any_cache, colour, run):
    run(made("return 'old'", colour, any_cache)("hi"))
    edited = made("return 'new'", colour, any_cache)
    assert ("code",) == run(edited.cache_explain("hi")).differs
    assert ("prompt", "code") == run(edited.cache_explain("ho")).differs


def test_a_version_that_was_raised(any_cache, colour, run):
    run(made("return 'old'", colour, any_cache, version=1)("hi"))
    assert run(made("return 'new'", colour, any_cache, version=1).cache_explain("hi")).hit is True
    assert ("version",) == run(made("return 'new'", colour, any_cache, version=2).cache_explain("hi")).differs


def test_a_constant_that_was_rebound(any_cache, colour, run, monkeypatch):
    ask = ai_cached(coloured(lambda prompt: MODEL, colour), cache=any_cache)
    run(ask("hi"))
    monkeypatch.setitem(globals(), "MODEL", "large")
    assert ("MODEL",) == run(ask.cache_explain("hi")).differs


def test_a_client_whose_address_was_replaced(any_cache, colour, run, monkeypatch):
    with openai.OpenAI(base_url="http://one/v1", api_key="any") as client:
        monkeypatch.setitem(globals(), "CLIENT", client)
        ask = ai_cached(coloured(lambda prompt: CLIENT and "answer", colour), cache=any_cache)
        run(ask("hi"))
        client.base_url = "http://two/v1"
        assert ("CLIENT",) == run(ask.cache_explain("hi")).differs
        client.base_url = "http://one/v1"
        assert run(ask.cache_explain("hi")).hit is True


def test_a_value_that_is_closed_over(any_cache, colour, run):
    tone = "kind"
    ask = ai_cached(coloured(lambda prompt: tone, colour), cache=any_cache)
    run(ask("hi"))
    tone = "rude"
    assert ("tone",) == run(ask.cache_explain("hi")).differs


def test_what_is_left_out_of_the_key_never_differs(any_cache, colour, run):
    ask = ai_cached(
        ScriptedModel().function(colour), cache=any_cache, ignore=("request_id",), normalize={"prompt": str.strip}
    )
    run(ask("hi", request_id=1))
    assert run(ask.cache_explain(" hi ", request_id=2)).hit is True
    assert ("prompt",) == run(ask.cache_explain(" ho ", request_id=2)).differs


def test_a_key_of_your_own_has_one_name(any_cache, colour, run):
    ask = ai_cached(coloured(lambda prompt: prompt, colour), cache=any_cache, key=lambda prompt: prompt.lower())
    run(ask("HI"))
    assert run(ask.cache_explain("hi")).hit is True
    assert ("key",) == run(ask.cache_explain("ho")).differs


def test_a_default_without_a_content_is_not_none(any_cache, colour, run):
    missing = object()
    ask = ai_cached(coloured(lambda prompt, seed=missing: prompt, colour), cache=any_cache)
    run(ask("hi"))
    assert ("seed",) == run(ask.cache_explain("hi", seed=None)).differs
    assert run(ask.cache_explain("hi", seed=missing)).hit is True


@pytest.mark.parametrize("name", ["code", "version", "scope", "sample", "MODEL"])
def test_an_argument_may_be_called_as_another_part_of_the_key(any_cache, colour, run, name):
    """A parameter `code` is not hidden behind the digest of the code."""
    ask = ai_cached(coloured(lambda **given: MODEL, colour), cache=any_cache)
    run(ask(**{name: "a"}))
    assert (f"argument {name}",) == run(ask.cache_explain(**{name: "b"})).differs


def test_arguments_that_do_not_fit_are_named_by_their_place(any_cache, colour, run):
    """A decorator that fills in an argument makes the signature lie."""
    function = coloured(lambda *args: "answer", colour)
    function.__signature__ = inspect.signature(lambda prompt: None)
    ask = ai_cached(function, cache=any_cache)
    run(ask("client", "hi"))
    assert ("args[1]",) == run(ask.cache_explain("client", "ho")).differs


def test_an_origin_that_changes_its_arguments_is_explained_by_what_it_was_given(any_cache, colour, run):
    def ask(messages):
        messages.append(object())
        return "answer"

    cached = ai_cached(coloured(ask, colour), cache=any_cache)
    run(cached(["hi"]))
    assert run(cached.cache_explain(["hi"])).hit is True
    assert ("messages",) == run(cached.cache_explain(["ho"])).differs
    with scope("a"):
        assert ("scope",) == run(cached.cache_explain(["hi"])).differs


# Why its own entry is of no use ---------------------------------------------------------------------------------------


def test_a_function_without_stored_calls(ask, run):
    found = run(ask.cache_explain("hi"))
    assert (False, (), 0, None) == (found.hit, found.differs, found.compared, found.age)
    assert "miss: no call of this function is stored" == str(found)


def test_another_functions_calls_are_not_compared(ask, any_cache, colour, run):
    run(ai_cached(ScriptedModel().function(colour, name="other"), cache=any_cache)("hi"))
    assert "no call of this function is stored" == run(ask.cache_explain("hi")).reason


def test_an_expired_entry(ask, clock, run):
    brief = ask.cache_with(ttl=9)
    run(brief("hi"))
    run(ask("ho"))
    clock.advance(10)
    found = run(brief.cache_explain("hi"))
    assert (False, ()) == (found.hit, found.differs)
    assert found.reason.startswith("its entry has expired")


def test_an_invalidated_entry(ask, run):
    run(ask("hi"))
    run(ask("ho"))
    run(ask.cache_invalidate("hi"))
    found = run(ask.cache_explain("hi"))
    assert () == found.differs
    assert "its entry has expired, was invalidated, or made room for others" == found.reason


def test_a_cleared_entry(ask, run):
    run(ask("hi"))
    run(ask.cache_clear())
    assert "its entry was cleared" == run(ask.cache_explain("hi")).reason
    run(ask("ho"))
    assert "its entry was cleared" == run(ask.cache_explain("hi")).reason


def test_a_cleared_namespace_and_a_cleared_scope(ask, any_cache, run):
    for cleared in (None, "a"):
        with scope("a"):
            run(ask("hi"))
            any_cache.clear(cleared)
            assert "its entry was cleared" == run(ask.cache_explain("hi")).reason


def test_cleared_entries_are_not_compared(ask, run):
    run(ask("hi"))
    run(ask.cache_clear())
    assert "no call of this function is stored" == run(ask.cache_explain("ho")).reason
    run(ask("hi", seed=1))
    found = run(ask.cache_explain("ho"))
    assert (("prompt", "seed"), 1) == (found.differs, found.compared)


class Damaging(MemoryStore):
    """Give every value back with a byte flipped."""

    opened = False

    def get_many(self, keys):
        found = super().get_many(keys)
        return [
            data and data[:30] + bytes((data[30] ^ 1,)) + data[31:] if key[:1] == b"v" else data
            for key, data in zip(keys, found, strict=True)
        ]


def test_a_damaged_entry(colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(Damaging()))
    run(ask("hi"))
    assert "its entry cannot be used: damaged" == run(ask.cache_explain("hi")).reason
    assert "no call of this function is stored" == run(ask.cache_explain("ho")).reason


def test_an_entry_that_todays_rules_refuse(ask, run):
    run(ask("hi"))
    strict = ask.cache_with(cache_if=lambda answer: answer != "hi")
    assert "its entry cannot be used: now refused by cache_if" == run(strict.cache_explain("hi")).reason
    assert run(strict.cache_contains("hi")) is False
    assert run(ask.cache_explain("hi")).hit is True


@dataclasses.dataclass
class Answer:
    text: str


def test_an_entry_whose_class_may_not_be_made(store, colour, run):
    ask = coloured(lambda prompt: Answer(prompt), colour)
    run(ai_cached(ask, cache=Cache(store, trust=[Answer]))("hi"))
    assert run(ai_cached(ask, cache=Cache(store, trust=[Answer])).cache_explain("hi")).hit is True
    found = run(ai_cached(ask, cache=Cache(store)).cache_explain("hi"))
    assert found.reason.startswith("its entry cannot be used: undecodable")


# Calls that do not ask the store --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["off", "refresh", "write_only"])
def test_a_mode_that_does_not_read(ask, run, name):
    run(ask("hi"))
    with mode(name):
        assert f"miss: mode {name!r} does not read the cache" == str(run(ask.cache_explain("hi")))
    assert f"mode {name!r} does not read the cache" == run(ask.cache_with(mode=name).cache_explain("hi")).reason


def test_a_mode_that_reads(ask, run):
    run(ask("hi"))
    with mode("read_only"):
        assert run(ask.cache_explain("hi")).hit is True
    with mode("off"):
        assert run(ask.cache_with(mode="on").cache_explain("hi")).hit is True


def test_the_process_may_be_without_a_cache(ask, run, monkeypatch):
    from aicached.context import forget_process_mode

    run(ask("hi"))
    monkeypatch.setenv("AICACHED_MODE", "off")
    forget_process_mode()
    assert "mode 'off' does not read the cache" == run(ask.cache_explain("hi")).reason


def test_an_argument_without_a_content(ask, run):
    bypassing = ask.cache_with(on_unkeyable="bypass")
    found = run(bypassing.cache_explain(object()))
    assert ("the call bypasses the cache (unkeyable)", None) == (found.reason, found.key)
    with pytest.raises(UnkeyableArgument):
        run(ask.cache_explain(object()))


def test_a_scope_that_is_missing(store, ask, colour, run):
    scoped = ask.cache_with(scope=TENANT)
    assert "the call bypasses the cache (no scope)" == run(scoped.cache_explain("hi")).reason
    required = ai_cached(ScriptedModel().function(colour), cache=Cache(store, require_scope=True))
    assert "the call bypasses the cache (no scope)" == run(required.cache_explain("hi")).reason


# A store in trouble ---------------------------------------------------------------------------------------------------


def test_a_store_that_is_down(colour, run):
    store = FlakyStore(MemoryStore())
    store.blocking = True
    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(store))
    run(ask("hi"))
    store.always_fail()
    for _ in range(5):  # the breaker opens on the way
        found = run(ask.cache_explain("hi"))
        assert (False, "the store does not answer") == (found.hit, found.reason)
        assert ask.cache_key("hi") == found.key


def test_a_redis_that_is_down(own_redis, colour, run):
    with Cache(own_redis.url) as cache:
        ask = ai_cached(ScriptedModel().function(colour), cache=cache)
        run(ask("hi"))
        assert run(ask.cache_explain("hi")).hit is True
        own_redis.kill()
        assert "miss: the store does not answer" == str(run(ask.cache_explain("hi")))


def test_a_store_that_cannot_list_what_was_stored_last(colour, run):
    class Forgetful(MemoryStore):
        def read(self, log, since, count):
            raise StoreError("no")

    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(Forgetful()))
    run(ask.cache_put("put", "hi"))
    assert "the store does not answer" == run(ask.cache_explain("ho")).reason


@pytest.mark.parametrize("listed", [b"v", b"\xff" * 100, b"l" + bytes(32), bytes(33) * 3], ids=len)
def test_a_list_that_somebody_else_wrote(cache, colour, run, listed):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    run(ask("hi"))
    latest = ask._self_site.plan().facts.latest
    assert latest.taken() is not None
    stamps = b"".join(key for key in cache.store._marks if key[:1] == b"t")
    cache.store.append(latest.log, stamps + listed, None, 64)
    assert "no call of this function is stored" == run(ask.cache_explain("ho")).reason
    assert run(ask.cache_explain("hi")).hit is True


def test_a_store_with_three_methods_explains(colour, run):
    class Small(Store):
        def __init__(self):
            super().__init__()
            self.kept = {}

        def get(self, key):
            return self.kept.get(key)

        def set(self, key, data, lifetime):
            self.kept[key] = data

        def delete(self, key):
            self.kept.pop(key, None)

    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(Small()))
    run(ask("hi"))
    assert ("prompt",) == run(ask.cache_explain("ho")).differs


# What it costs, and what it tells -------------------------------------------------------------------------------------


def test_calls_beyond_the_last_64_are_not_compared(ask, run):
    run(ask("hi", model="old"))
    for n in range(64):
        run(ask(f"prompt {n}"))
    found = run(ask.cache_explain("hi", model="older"))
    assert (64, ("prompt", "model")) == (found.compared, found.differs)
    assert run(ask.cache_explain("hi", model="old")).hit is True


def test_a_call_that_is_stored_again_is_compared_once(ask, run):
    for _ in range(3):
        run(ask.cache_refresh("hi"))
    assert 1 == run(ask.cache_explain("ho")).compared


def test_explaining_counts_nothing(ask, run, any_cache):
    run(ask("hi"))
    before = ask.cache_info()
    for prompt in ("hi", "ho"):
        run(ask.cache_explain(prompt))
    assert before == ask.cache_info()


def test_explaining_counts_no_error_either(colour, run):
    """Nor does asking whether there is an answer."""
    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(Damaging()))
    run(ask("hi"))
    run(ask.cache_explain("hi"))
    run(ask.cache_contains("hi"))
    assert 0 == ask.cache_info().errors
    run(ask("hi"))
    assert 1 == ask.cache_info().errors


def test_explaining_calls_and_stores_nothing(any_cache, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=any_cache)
    run(ask.cache_explain("hi"))
    assert 0 == model.calls
    assert run(ask.cache_contains("hi")) is False


def test_nothing_in_the_file_tells_the_arguments(tmp_path, colour, run):
    ask = ai_cached(ScriptedModel("answer").function(colour), cache=(cache := Cache(f"sqlite:///{tmp_path}/a.db")))
    with scope("tenant-canary"):
        run(ask("prompt-canary", model="model-canary", user="user-canary"))
        assert ("prompt",) == run(ask.cache_explain("other", model="model-canary", user="user-canary")).differs
    cache.close()
    written = b"".join(path.read_bytes() for path in tmp_path.glob("a.db*"))
    assert b"answer" in written
    assert b"canary" not in written
    for text in (b"prompt-canary", b"model-canary"):
        assert hashlib.sha256(text).digest()[:8] not in written


def parts_of(cache, ask, run):
    """Give what the entry of a call carries, where the cache keeps its entries opened."""
    run(ask("hi"))
    return cache.store.get(b"v" + bytes.fromhex(ask.cache_key("hi"))).parts()


def test_parts_are_eight_bytes_each(cache, colour, run):
    ask = ai_cached(coloured(lambda prompt: MODEL, colour), cache=cache)
    parts = parts_of(cache, ask, run)
    assert {"prompt", "code", "MODEL"} == parts.keys() - {"closure function"}
    assert {8} == {len(digest) for digest in parts.values()}


def test_signing_keys_key_the_digests(colour, run):
    """The same argument under another key has another digest; under a new key in front of the old one, the same."""
    old, new = os.urandom(32), os.urandom(32)
    function = coloured(lambda prompt: prompt, colour)
    found = []
    for keys in ([], [old], [new], [new, old]):
        cache = Cache("memory://", signing_keys=keys)
        found.append(parts_of(cache, ai_cached(function, cache=cache), run))
    plain, first, other, rotated = found
    assert plain.keys() == first.keys() == other.keys()
    assert [] == [name for name in plain if len({plain[name], first[name], other[name]}) < 3]
    assert first == rotated


def test_signed_and_encrypted_entries_are_explained(tmp_path, colour, run):
    pytest.importorskip("cryptography")
    keys = {"signing_keys": [os.urandom(32)], "encryption_keys": [os.urandom(32)]}
    with Cache(f"sqlite:///{tmp_path}/a.db", **keys) as cache:
        ask = ai_cached(ScriptedModel().function(colour), cache=cache)
        run(ask("hi"))
        assert ("model",) == run(ask.cache_explain("hi", model="large")).differs


# For people -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("explanation", "text"),
    [
        (
            Explanation("m:f", True, age=200, ttl=72000.5, usage=Usage("small", 1000, 200, 0.006)),
            "hit: stored 3 minutes ago, fresh for another 20 hours; saves 1200 tokens and\n    $0.0060",
        ),
        (Explanation("m:f", True, age=0.2), "hit: stored less than a second ago, fresh for ever"),
        (
            Explanation("m:f", True, age=1, ttl=90061, usage=Usage("small", 1, 1)),
            "hit: stored 1 second ago, fresh for another 1 day; saves 2 tokens",
        ),
        (
            Explanation("m:f", False, differs=("model",), compared=12, age=180),
            "miss: model differs from the nearest of 12 stored calls (3 minutes ago)",
        ),
        (
            Explanation("m:f", False, differs=("prompt", "model", "seed"), compared=1, age=2 * 86400),
            "miss: prompt, model and seed differ from the only stored call (2 days ago)",
        ),
        (Explanation("m:f", False, reason="its entry was cleared"), "miss: its entry was cleared"),
    ],
)
def test_the_text_of_an_explanation(explanation, text):
    assert text == str(explanation)
    assert [] == too_wide(text)


def test_a_text_fits_into_80_columns_whatever_differs(cache, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    run(ask("hi"))
    text = str(run(ask.cache_explain("ho", **{f"a_long_parameter_{n}": n for n in range(20)})))
    assert text.startswith("miss: prompt, a_long_parameter_0, ")
    assert [] == too_wide(text)


# The warning after 50 misses ------------------------------------------------------------------------------------------


def test_an_argument_that_is_new_in_each_of_50_misses_is_named_once(cache, colour, run, warned):
    ask = ai_cached(ScriptedModel("answer").function(colour, name="summarize"), cache=cache)
    for n in range(120):
        run(ask("hi", request_id=n))
        assert (n >= 49) == len(warned())
    (warning,) = warned()
    assert "summarize: 50 misses without a hit; new each time: request_id. " in warning
    assert warning.endswith("ignore=('request_id',)")


def test_the_advice_of_the_warning_can_be_taken(cache, colour, run, warned):
    model = ScriptedModel("answer")
    ask = ai_cached(model.function(colour), cache=cache)
    for n in range(60):
        run(ask("hi", request_id=n))
    advised = ask.cache_with(ignore=eval(warned()[0].partition("ignore=")[2]))
    for n in range(60):
        run(advised("hi", request_id=n))
    assert 61 == model.calls


def test_several_are_named(cache, colour, run, warned):
    ask = ai_cached(ScriptedModel("answer").function(colour), cache=cache)
    for n in range(60):
        run(ask(f"prompt {n}", request_id=n, seed=1))
    (warning,) = warned()
    assert warning.endswith("ignore=('prompt', 'request_id')")


def test_an_argument_that_repeats_is_not_named(cache, colour, run, warned):
    """Neither one that goes back and forth, nor one that repeats once."""
    ask = ai_cached(ScriptedModel("answer").function(colour), cache=cache)
    for n in range(60):
        run(ask("hi", temperature=n % 2, seed=n // 2, user=max(n, 1), request_id=n))
    (warning,) = warned()
    assert warning.endswith("ignore=('request_id',)")


def test_where_every_argument_repeats_there_is_no_warning(cache, colour, run, warned):
    ask = ai_cached(ScriptedModel("answer").function(colour), cache=cache)
    for n in range(100):
        run(ask(f"prompt {n // 10}", seed=n % 10))
    assert [] == warned()


@pytest.mark.parametrize("at", [1, 30, 48])
def test_one_hit_is_enough_against_the_warning(cache, colour, run, warned, at):
    ask = ai_cached(ScriptedModel("answer").function(colour), cache=cache)
    for n in range(100):
        run(ask("hi", request_id=n))
        if n == at:
            run(ask("hi", request_id=n))
    assert [] == warned()


@pytest.mark.parametrize("how", ["put", "refresh", "mode"])
def test_answers_that_are_put_or_refreshed_are_no_misses(cache, colour, run, warned, how):
    ask = ai_cached(ScriptedModel("answer").function(colour), cache=cache)
    for n in range(60):
        with mode("refresh" if how == "mode" else "on"):
            if how == "put":
                run(ask.cache_put("put", "hi", request_id=n))
            else:
                run((ask.cache_refresh if how == "refresh" else ask)("hi", request_id=n))
    assert [] == warned()


def test_answers_that_are_not_kept_are_misses_too(cache, colour, run, warned):
    ask = ai_cached(ScriptedModel("answer").function(colour), cache=cache, cache_if=lambda _: False)
    for n in range(60):
        run(ask("hi", request_id=n))
    assert 1 == len(warned())


def test_a_key_of_your_own_gets_other_advice(cache, colour, run, warned):
    ask = ai_cached(coloured(lambda prompt: "answer", colour), cache=cache, key=lambda prompt: prompt)
    for n in range(60):
        run(ask(n))
    (warning,) = warned()
    assert "what key= returned was new each time" in warning
    assert "ignore=" not in warning


def test_samples_and_scopes_are_not_blamed(cache, colour, run, warned):
    ask = ai_cached(ScriptedModel("answer").function(colour), cache=cache)
    for n in range(60):
        with scope(f"user {n}"), sample(n):
            run(ask("hi"))
    assert [] == warned()


def test_a_constant_that_is_new_each_time_has_one_warning_of_its_own(cache, colour, run, warned, monkeypatch):
    ask = ai_cached(coloured(lambda prompt: MODEL, colour), cache=cache)
    for n in range(60):
        monkeypatch.setitem(globals(), "MODEL", f"model {n}")
        run(ask("hi"))
    (warning,) = warned()
    assert "ignore=('MODEL',)" in warning


def test_an_argument_and_a_constant_have_one_warning_each(cache, colour, run, warned, monkeypatch):
    ask = ai_cached(coloured(lambda prompt: MODEL, colour), cache=cache)
    for n in range(120):
        monkeypatch.setitem(globals(), "MODEL", f"model {n}")
        run(ask(n))
    assert [1, 1] == [sum(f"ignore=({name!r},)" in text for text in warned()) for name in ("MODEL", "prompt")]
    assert 2 == len(warned())
