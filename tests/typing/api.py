"""What checkers see of decorated functions; never executed: `mypy --strict` and basedpyright read it.

Each bad call carries an ignore that both checkers honour; that an unused one is an error makes this test able to fail.
Classmethods, in both orders, and static methods through an instance are beyond both checkers, and are left out.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import openai
from openai.types.chat import ChatCompletion
from typing_extensions import assert_type

from aicached import (
    Cache,
    CacheInfo,
    Near,
    Semantic,
    Usage,
    ai_cached,
    args,
    current_call,
    mode,
    patch,
    sample,
    scope,
    trace,
)
from aicached.typing import AsyncCached, Cached

cache = Cache("memory://", ttl="1d", trust=["tests"], prices={"small": (3.0, 15.0)})


# Functions -----------------------------------------------------------------------------------------------------------


@ai_cached
def bare(prompt: str, *, model: str = "small") -> int:
    return len(prompt + model)


@ai_cached(ttl="1d", ignore=("model",), retry=3, cache=cache)
def with_options(prompt: str, *, model: str = "small") -> int:
    return len(prompt + model)


@ai_cached()
def with_none(prompt: str) -> list[str]:
    return [prompt]


assert_type(bare("hi"), int)
assert_type(bare("hi", model="large"), int)
assert_type(with_options(prompt="hi"), int)
assert_type(with_none("hi"), list[str])

bare(5)  # type: ignore[arg-type]
bare()  # type: ignore[call-arg]
bare("hi", "small")  # type: ignore[call-arg]
with_options("hi", modle="large")  # type: ignore[call-arg]
assert_type(bare.cache_map(["a"]), list[int])
assert_type(bare.cache_map(["a"], on_error="return"), list[int | BaseException])
assert_type(cache.stats().total, CacheInfo)
assert_type(cache.savings("30d").cost, float)
wrong: str = bare("hi")  # type: ignore[assignment]


# Coroutine functions -------------------------------------------------------------------------------------------------


@ai_cached
async def abare(prompt: str, *, model: str = "small") -> int:
    return len(prompt + model)


@ai_cached(ttl=timedelta(hours=1), cache="memory://")
async def awith_options(prompt: str) -> dict[str, int]:
    return {prompt: 1}


async def calls() -> None:
    assert_type(await abare("hi"), int)
    assert_type(await awith_options("hi"), dict[str, int])
    assert_type(await abare.cache_contains("hi"), bool)
    assert_type(await abare.cache_refresh("hi"), int)
    assert_type(await abare.cache_put(5, "hi", model="large"), bool)
    assert_type(await abare.cache_samples(3, "hi"), list[int])
    assert_type(await abare.cache_map(["a", args("b", model="large")]), list[int])
    assert_type((await abare.cache_warm(["a"], concurrency=3)).kept, int)
    await abare.cache_invalidate("hi")
    await abare.cache_clear()
    assert_type(abare.cache_key("hi"), str)
    assert_type(abare.cache_info(), CacheInfo)
    await abare(5)  # type: ignore[arg-type]
    await abare.cache_contains()  # type: ignore[call-arg]


# Methods -------------------------------------------------------------------------------------------------------------


class Bot:
    @ai_cached
    def ask(self, prompt: str) -> int:
        return len(prompt)

    @ai_cached(ttl="1h")
    def ask_with_options(self, prompt: str) -> int:
        return len(prompt)

    @ai_cached
    async def aask(self, prompt: str) -> int:
        return len(prompt)

    @ai_cached(ttl="1h")
    async def aask_with_options(self, prompt: str) -> int:
        return len(prompt)

    @staticmethod
    @ai_cached
    def apart(prompt: str) -> int:
        return len(prompt)


def methods(bot: Bot) -> None:
    assert_type(bot.ask("hi"), int)
    assert_type(bot.ask_with_options(prompt="hi"), int)
    assert_type(Bot.apart("hi"), int)
    assert_type(Bot.ask(bot, "hi"), int)
    assert_type(bot.ask.cache_contains("hi"), bool)
    assert_type(bot.ask.cache_key("hi"), str)
    assert_type(bot.ask.cache_samples(2, "hi"), list[int])
    bot.ask(5)  # type: ignore[arg-type]
    bot.ask("hi", "ho")  # type: ignore[call-arg]
    bot.ask.cache_key()  # type: ignore[call-arg]


async def amethods(bot: Bot) -> None:
    assert_type(await bot.aask("hi"), int)
    assert_type(await bot.aask_with_options("hi"), int)
    assert_type(await bot.aask.cache_refresh("hi"), int)
    await bot.aask(5)  # type: ignore[arg-type]


# The cache_* methods -------------------------------------------------------------------------------------------------

assert_type(bare.cache_info(), CacheInfo)
assert_type(bare.cache_info().hits, int)
assert_type(bare.cache_parameters(), dict[str, Any])
assert_type(bare.cache_key("hi"), str)
assert_type(bare.cache_contains("hi"), bool)
assert_type(bare.cache_refresh("hi"), int)
assert_type(bare.cache_put(5, "hi"), bool)
assert_type(bare.cache_samples(3, "hi", model="large"), list[int])
assert_type(bare.cache_with(mode="refresh", ttl="1h")("hi"), int)
bare.cache_invalidate("hi")
bare.cache_clear()

bare.cache_key(5)  # type: ignore[arg-type]
bare.cache_put("hi")  # type: ignore[call-arg]
bare.cache_samples("3", "hi")  # type: ignore[arg-type]


# Callables that exist already, and what decorated functions fit ------------------------------------------------------


def plain(prompt: str) -> int:
    return len(prompt)


async def aplain(prompt: str) -> int:
    return len(prompt)


made: Cached[[str], int] = ai_cached(plain, ttl="1d")
amade: AsyncCached[[str], int] = ai_cached(aplain, ttl="1d")
as_callable: Callable[[str], int] = ai_cached(plain)
as_coroutine_function: Callable[[str], Coroutine[Any, Any, int]] = ai_cached(aplain)


def sdk(client: openai.OpenAI) -> None:
    create = ai_cached(client.chat.completions.create, ttl="1d")
    assert_type(create(model="small", messages=[]), ChatCompletion)
    assert_type(create.cache_contains(model="small", messages=[]), bool)
    create(messages=[])  # type: ignore[call-arg]


async def asdk(client: openai.AsyncOpenAI) -> None:
    create = ai_cached(client.chat.completions.create, ttl="1d")
    assert_type(await create(model="small", messages=[]), ChatCompletion)
    assert_type(await create.cache_contains(model="small", messages=[]), bool)


# Options -------------------------------------------------------------------------------------------------------------


def usage(answer: object) -> Usage:
    return Usage("small", 1, len(str(answer)))


def is_good(answer: Any) -> bool:
    return bool(answer)


@ai_cached(
    ttl=None,
    key=("prompt",),
    normalize={"prompt": str.strip},
    scope="tenant",
    version=(plain, 1),
    tags=("a", "b"),
    retry=False,
    cache_if=is_good,
    usage=usage,
    colour="sync",
    mode="refresh",
    semantic=Semantic(text="prompt", threshold=0.9, guards=("number", "negation"), mode="shadow"),
    on_unkeyable="bypass",
)
def with_all(prompt: str) -> str:
    return prompt


ai_cached(tll="1d")  # type: ignore[call-overload]
ai_cached(mode="of")  # type: ignore[call-overload]
ai_cached(on_unkeyable="ignore")  # type: ignore[call-overload]
ai_cached(semantic="prompt")  # type: ignore[call-overload]


# The rest of the public names ----------------------------------------------------------------------------------------


def surroundings() -> None:
    with mode("off"), scope("tenant"), sample(1), trace() as statuses:
        bare("hi")
    assert_type(statuses[0].hit, bool)
    assert_type(statuses[0].usage, Usage | None)
    call = current_call()
    call.ttl = 60
    call.tags.add("x")
    call.skip("why")
    with patch("json:dumps", ttl="1d") as patched:
        patched.undo()
    Cache("redis://localhost", near=True, max_entries=10)
    Cache("redis://localhost", near=Near(entries=10, bytes=1000))
    with Cache() as inner:
        inner.clear("tenant")
        inner.invalidate_tags("a", "b")
        assert_type(inner.purge(scope="tenant", older_than="30d"), int)
        assert_type(inner.purge(wait=False), None)
        inner.call(plain, "hi")


async def asurroundings() -> None:
    async with Cache() as inner:
        await inner.aclear()
        await inner.ainvalidate_tags("a")
        assert_type(await inner.apurge(), int)
        assert_type(await inner.apurge(scope="tenant", wait=False), None)
        await inner.aclose()
