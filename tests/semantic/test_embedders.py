"""The embedders that are there: wordllama's, and an openai client's."""

from __future__ import annotations

import sys

import openai
import pytest

from aicached import Cache, ConfigurationError, Semantic, ai_cached, trace
from aicached.semantic import OpenAIEmbeddings, WordLlama
from aicached.semantic.embedding import Embedder, identity
from aicached.semantic.options import THRESHOLDS
from aicached.testing import ScriptedModel


def test_an_openai_client_embeds(client):
    one, two = OpenAIEmbeddings(client)(["one", "two"])
    assert one != two


def test_an_async_openai_client_embeds(server, run):
    async def embed():
        async with openai.AsyncOpenAI(base_url=server.url, api_key="any", max_retries=0) as client:
            return await OpenAIEmbeddings(client)(["one", "two"])

    one, two = run(embed())
    assert one != two


def test_near_matches_by_an_openai_client(server, client):
    semantic = Semantic("prompt", embed=OpenAIEmbeddings(client), threshold=0.9)
    ask = ai_cached(ScriptedModel().function("sync"), cache=Cache("memory://"), semantic=semantic)
    ask("How do I reset my password?")
    with trace() as calls:
        ask("password reset, how?")
    assert -1.01 < calls[0].semantic.candidate.similarity < 1.01
    assert ["/v1/embeddings"] * 2 == [request.path for request in server.requests]


def test_the_model_and_its_dimensions_tell_embedders_apart(client):
    marks = {identity(OpenAIEmbeddings(client, model, size)) for model in ("a", "b") for size in (None, 256)}
    assert 4 == len(marks)


def test_functions_that_close_over_other_things_are_other_embedders():
    def make(scale):
        return lambda texts: [[scale, 1.0]] * len(texts)

    marks = [Embedder(Semantic("p", embed=make(scale), threshold=0.9), b"").mark for scale in (1.0, 2.0, 1.0)]
    assert marks[0] == marks[2] != marks[1]


def test_what_is_no_client_is_refused():
    with pytest.raises(ConfigurationError, match="embeddings.create"):
        OpenAIEmbeddings(object())


def test_an_openai_client_needs_a_threshold(client):
    with pytest.raises(ConfigurationError, match="threshold"):
        Semantic("prompt", embed=OpenAIEmbeddings(client))


def test_wordllama_embeds_and_has_a_threshold():
    embed = WordLlama()
    one, same, other = embed(["How do I reset my password?", "how to reset a password", "The cat sat on the mat."])
    assert 1.0 == pytest.approx(float(one @ one), abs=1e-5)
    assert one @ same > 0.7 > one @ other
    assert THRESHOLDS[WordLlama.identity] == Semantic("prompt", embed=embed).threshold


def test_wordllama_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(ConfigurationError, match=r"aicached\[wordllama\]"):
        WordLlama()


def test_minilm_is_the_default(minilm):
    made = Semantic("prompt")
    assert "all-MiniLM-L6-v2" == made.embed.identity
    assert THRESHOLDS["all-MiniLM-L6-v2"] == made.threshold


def test_minilm_answers_the_same_question_and_no_other(minilm):
    model = ScriptedModel()
    ask = ai_cached(model.function("sync"), cache=Cache("memory://"), semantic=Semantic("prompt", embed=minilm))
    same = ["How do I reset my password?", "password reset, how?", "Could you please tell me how to reset my password?"]
    assert {same[0]} == {ask(text) for text in same}
    other = [
        "How do I enable 2FA?",
        "How do I disable 2FA?",
        "How do I reset my phone?",
        "Why should I reset my password?",
    ]
    assert other == [ask(text) for text in other]
