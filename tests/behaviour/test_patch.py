"""patch(): a cache around a function where it stands, and the way back."""

from __future__ import annotations

import asyncio

import openai
import pytest
from openai.resources.chat.completions import Completions

from aicached import ConfigurationError, ai_cached, patch

HERE = __name__
HELLO = [{"role": "user", "content": "Hello?"}]


def ask(prompt: str) -> str:
    return prompt


class Bot:
    calls = 0

    def __cache_key__(self):
        return "bot"

    def ask(self, prompt):
        Bot.calls += 1
        return prompt

    @classmethod
    def above(cls, prompt):
        return f"{cls.__name__} {prompt}"

    @staticmethod
    def apart(prompt):
        return prompt


class Child(Bot):
    pass


def test_a_function_is_cached_where_it_stands_until_undo():
    before = ask
    patched = patch(f"{HERE}:ask", cache="memory://", ttl=60)
    try:
        assert ask is patched.function
        assert ["hi", "hi"] == [ask("hi"), ask("hi")]
        assert 1 == ask.cache_info().hits
        assert 60.0 == ask.cache_parameters()["ttl"]
    finally:
        patched.undo()
    assert ask is before
    patched.undo()
    assert ask is before


@pytest.mark.parametrize("name", ["ask", "above", "apart"])
def test_methods_of_every_kind_are_put_back_as_they_were(name):
    before = vars(Bot)[name]
    with patch(f"{HERE}:Bot.{name}", cache="memory://"):
        first = getattr(Bot(), name)("hi")
        assert first == getattr(Bot(), name)("hi")
        assert 1 == getattr(Bot, name).cache_info().hits
    assert before is vars(Bot)[name]


def test_what_is_inherited_is_patched_on_the_child_alone():
    with patch(f"{HERE}:Child.ask", cache="memory://"):
        assert "ask" in vars(Child)
        assert not hasattr(Bot.ask, "cache_info")
        assert "hi" == Child().ask("hi")
    assert "ask" not in vars(Child)


def test_an_inherited_classmethod_sees_the_childs_class():
    with patch(f"{HERE}:Child.above", cache="memory://"):
        assert "Child hi" == Child.above("hi") == Child().above("hi")


def test_undo_leaves_alone_what_is_not_its_own(monkeypatch):
    patched = patch(f"{HERE}:Bot.apart", cache="memory://")
    monkeypatch.setattr(Bot, "apart", len)
    patched.undo()
    assert Bot.apart is len
    monkeypatch.undo()
    patched.undo()
    assert not hasattr(Bot.apart, "cache_info")


def test_undo_at_the_end_of_a_block_that_fails():
    before = ask
    with pytest.raises(ValueError, match="no"), patch(f"{HERE}:ask", cache="memory://"):
        raise ValueError("no")
    assert ask is before


def test_two_patches_of_one_place_are_refused():
    with patch(f"{HERE}:ask", cache="memory://"):
        with pytest.raises(ConfigurationError, match=r"is cached already, by a decorator or by patch\(\)"):
            patch(f"{HERE}:ask")
        with pytest.raises(ConfigurationError, match="cached already"):
            ai_cached(ask)


@pytest.mark.parametrize(
    "target", ["ask", "tests:", ":ask", "nowhere_at_all:ask", f"{HERE}:Bot.nothing", f"{HERE}:Nothing.ask"]
)
def test_a_bad_target_says_what_is_wrong(target):
    with pytest.raises(ConfigurationError, match=r"patch\(\): ") as caught:
        patch(target)
    assert repr(target) in str(caught.value)


def test_a_bad_option_leaves_the_function_alone():
    before = ask
    with pytest.raises(ConfigurationError, match="ttl"):
        patch(f"{HERE}:ask", ttl="soon")
    assert ask is before


def test_the_sdks_method_is_patched_for_every_client(server, client):
    with patch("openai.resources.chat.completions:Completions.create", cache="memory://"):
        said = [client.chat.completions.create(model="small", messages=HELLO) for _ in range(2)]
    assert said[0] == said[1]
    assert 1 == server.calls
    assert not hasattr(Completions.create, "cache_info")


def test_the_async_sdks_method_is_patched_in_its_colour(server):
    async def main():
        async with openai.AsyncOpenAI(base_url=server.url, api_key="any", max_retries=0) as client:
            return [await client.chat.completions.create(model="small", messages=HELLO) for _ in range(2)]

    with patch("openai.resources.chat.completions:AsyncCompletions.create", cache="memory://"):
        said = asyncio.run(main())
    assert said[0] == said[1]
    assert 1 == server.calls
