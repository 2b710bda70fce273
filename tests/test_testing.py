"""What tests of cached functions stand on: the clock, the scripted model, the flaky store."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import subprocess
import sys
import threading

import pytest

import aicached.testing
from aicached.errors import StoreUnavailable
from aicached.stores.base import Store
from aicached.testing import FakeClock, FlakyStore, RateLimited, ScriptedModel


class DictStore(Store):
    blocking = False

    def __init__(self):
        super().__init__()
        self.data = {}

    def get(self, key):
        return self.data.get(key)

    def set(self, key, data, lifetime):
        self.data[key] = data

    def delete(self, key):
        self.data.pop(key, None)

    def exchange(self, key, old, new):
        return self.data.get(key) == old

    async def aexchange(self, key, old, new):
        return self.exchange(key, old, new)


def test_a_clock_moves_only_when_told():
    clock = FakeClock(100.0)
    assert clock() == clock() == 100.0
    clock.advance(5)
    clock.sleep(2.5)
    asyncio.run(clock.asleep(0.5))
    assert clock() == 108.0
    assert clock.slept == [2.5, 0.5]
    assert repr(clock) == "FakeClock(108.0)"


def test_a_clock_does_not_go_backwards():
    with pytest.raises(ValueError, match="backwards"):
        FakeClock().advance(-1)


def test_a_model_says_its_script_and_repeats_the_end(colour, run):
    model = ScriptedModel("one", RateLimited, KeyError("x"), "two")
    ask = model.function(colour, name="ask")
    assert run(ask("a")) == "one"
    with pytest.raises(RateLimited):
        run(ask("b", model="large", temperature=0))
    with pytest.raises(KeyError):
        run(ask(prompt="c"))
    assert [run(ask("d")), run(ask("e"))] == ["two", "two"]
    assert model.calls == 5
    assert model.arguments[:2] == [
        {"prompt": "a", "model": "small"},
        {"prompt": "b", "model": "large", "temperature": 0},
    ]


def test_a_model_without_a_script_echoes(colour, run):
    assert run(ScriptedModel().function(colour)("hi")) == "hi"
    assert ScriptedModel()("hi") == "hi"


def test_a_models_functions_are_real_ones(colour):
    ask = ScriptedModel().function(colour, name="summarize")
    assert inspect.iscoroutinefunction(ask) == (colour == "async")
    assert ask.__name__ == ask.__qualname__ == "summarize"
    assert str(inspect.signature(ask)) == "(prompt: 'str', *, model: 'str' = 'small', **kwargs: 'Any') -> 'Any'"


def test_a_model_has_two_colours():
    with pytest.raises(ValueError, match='"sync" or "async"'):
        ScriptedModel().function("blue")


def test_models_are_told_apart_unless_they_are_one():
    assert ScriptedModel().__cache_key__() != ScriptedModel().__cache_key__()
    assert ScriptedModel(identity="a").__cache_key__() == ScriptedModel(identity="a").__cache_key__()


def test_threads_share_a_script():
    model = ScriptedModel(*range(100), delay=0.0001)
    said = []
    threads = [threading.Thread(target=lambda: said.extend(model("x") for _ in range(25))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == list(range(100))


def test_a_rate_limit_looks_like_an_sdks():
    error = RateLimited(1.5)
    assert (error.status_code, error.response.status_code) == (429, 429)
    assert error.response.headers == {"retry-after": "1.5"}
    assert RateLimited().response.headers == {}
    assert pickle.loads(pickle.dumps(error)).response.headers == {"retry-after": "1.5"}


def use(store, colour, run):
    """Do everything that a store can do; return what came back."""
    a = "a" if colour == "async" else ""
    run(getattr(store, f"{a}set")(b"k", b"data", None))
    found = run(getattr(store, f"{a}get")(b"k")), run(getattr(store, f"{a}get_many")([b"k", b"x"]))
    stamps = run(getattr(store, f"{a}stamps")([b"s"]))
    run(getattr(store, f"{a}renew")(b"s"))
    changed = run(getattr(store, f"{a}stamps")([b"s"])) != stamps
    run(getattr(store, f"{a}delete")(b"k"))
    swapped = run(getattr(store, f"{a}exchange")(b"k", None, b"new"))
    run(getattr(store, f"{a}close")())
    return found, changed, swapped


def test_a_healthy_flaky_store_is_the_store_itself(colour, run):
    store = FlakyStore(DictStore())
    assert use(store, colour, run) == ((b"data", [b"data", None]), True, True)
    assert store.failures == 0
    assert store.operations == {
        "set": 1, "get": 1, "get_many": 1, "stamps": 2, "renew": 1, "delete": 1, "exchange": 1
    }  # fmt: skip
    assert (store.address, store.blocking, store.data) == (store.store.address, False, {b"s": store.data[b"s"]})


def test_a_store_fails_until_it_is_healed(colour, run):
    inner = DictStore()
    store = FlakyStore(inner)
    store.always_fail()
    for name, arguments in [
        ("get", [b"k"]), ("set", [b"k", b"", None]), ("delete", [b"k"]), ("get_many", [[b"k"]]),
        ("stamps", [[b"s"]]), ("renew", [b"s"]), ("exchange", [b"k", None, b""]),
    ]:  # fmt: skip
        with pytest.raises(StoreUnavailable):
            run(getattr(store, f"{'a' if colour == 'async' else ''}{name}")(*arguments))
    assert (store.failures, inner.data) == (7, {})
    store.heal()
    assert use(store, colour, run)[1]


def test_a_store_fails_as_often_as_it_should_and_repeatably():
    def failures(seed):
        store = FlakyStore(DictStore(), fail=0.3, seed=seed)
        failed = []
        for _ in range(1000):
            try:
                store.get(b"k")
                failed.append(False)
            except StoreUnavailable:
                failed.append(True)
        return failed

    assert 250 < sum(failures(1)) < 350
    assert failures(1) == failures(1) != failures(2)


def test_a_slow_store_waits_and_counts_as_blocking(colour, run):
    store = FlakyStore(DictStore(), delay=(0.001, 0.002))
    assert use(store, colour, run)[1]
    assert store.blocking


def test_what_a_store_cannot_do_stays_unknown():
    store = FlakyStore(DictStore())
    assert not hasattr(store, "scan")
    assert not hasattr(FlakyStore.__new__(FlakyStore), "scan")
    assert abs(store.now() - store.store.now()) < 60


def test_the_names_are_sorted_and_there():
    assert sorted(aicached.testing.__all__) == aicached.testing.__all__
    assert set(aicached.testing.__all__) <= set(dir(aicached.testing))
    for name in aicached.testing.__all__:
        assert getattr(aicached.testing, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        aicached.testing.Nothing  # noqa: B018


def test_importing_one_imports_none_of_the_others():
    code = (
        "import sys; from aicached.testing import FakeClock; "
        "print(sorted(name for name in sys.modules if name.startswith('aicached.testing.')), 'http' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['aicached.testing.clock'] False\n"
