"""
Embedders that are there already: wordllama's, and an openai client's; MiniLM has a file of its own.

Law: an embedder is a callable over a list of texts, with an `identity` that changes with its vectors.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError

__all__ = ["OpenAIEmbeddings", "WordLlama"]


class WordLlama:
    """
    Embed texts with wordllama's word vectors: 256 dimensions, 0.05 ms for a short text, and much weaker than MiniLM.

    Raises:
        ConfigurationError: the package is missing.
    """

    identity = "wordllama-l2-supercat-256"
    #: To compute a vector is cheaper than to fetch it from a store.
    kept = False

    def __init__(self) -> None:
        try:
            import wordllama
        except ImportError as error:
            raise ConfigurationError("WordLlama: pip install 'aicached[wordllama]'") from error
        # Its wheel carries the weights, but a plain load() looks for the tokenizer in another folder than they are in.
        folder = Path(wordllama.__file__).parent
        self._model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def __call__(self, texts: Sequence[str]) -> Any:
        """Return an array of one unit vector for each text."""
        return self._model.embed(list(texts), norm=True)


class OpenAIEmbeddings:
    """
    Embed texts with the embeddings of an openai client, sync or async; it needs a ``threshold=`` of your own.

    Args:
        client: an ``OpenAI`` or ``AsyncOpenAI``, or another client with ``embeddings.create``.
        model: the embedding model.
        dimensions: of its vectors; None = the model's own.
    """

    def __init__(self, client: Any, model: str = "text-embedding-3-small", dimensions: int | None = None) -> None:
        if not hasattr(getattr(client, "embeddings", None), "create"):
            raise ConfigurationError("OpenAIEmbeddings: it takes an openai client, which has embeddings.create")
        self.client = client
        self.model = model
        self.dimensions = dimensions
        self.identity = f"openai {client.base_url if hasattr(client, 'base_url') else ''} {model} {dimensions}"

    def __call__(self, texts: Sequence[str]) -> Any:
        """Return one vector for each text, or something to await that gives them."""
        options = {} if self.dimensions is None else {"dimensions": self.dimensions}
        answer = self.client.embeddings.create(model=self.model, input=list(texts), **options)
        return _awaited(answer) if inspect.isawaitable(answer) else _vectors(answer)


async def _awaited(answer: Any) -> Any:
    return _vectors(await answer)


def _vectors(answer: Any) -> list[Any]:
    return [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
