"""
How many repeats and how many traps a semantic setting serves, and what it costs.

    python benchmarks/semantic.py --data DIR [--wordllama] [--quick]

*DIR* holds labelled pairs: ``*.jsonl`` or ``*.jsonl.gz`` with rows of ``a``, ``b`` and ``label`` (or ``same``), or
``*.json`` with a list of ``origin`` and ``similar``, all repeats. Without it, only the costs are measured.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from aicached import Cache, Semantic, ai_cached, trace
from aicached.semantic import MiniLM, WordLlama
from aicached.semantic.evaluation import Evaluation, Labelled, evaluate, guarded
from aicached.semantic.guards import objections, pair_of
from aicached.semantic.options import GUARD_NAMES

# One core; numpy reads these when it is imported, which is later.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

LOOSE = 0.70


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="folder of labelled pairs")
    parser.add_argument("--wordllama", action="store_true", help="with wordllama instead of MiniLM")
    parser.add_argument("--quick", action="store_true", help="a few rounds only: shows that it runs, measures nothing")
    chosen = parser.parse_args()
    print(f"aicached, CPython {platform.python_version()}, {platform.system()} {platform.machine()}, one core")
    embed = WordLlama() if chosen.wordllama else MiniLM()
    if chosen.data is not None:
        qualities(chosen.data, embed)
    costs(embed, rounds=3 if chosen.quick else 200, entries=300 if chosen.quick else 10_000)


def qualities(folder: Path, embed: Any) -> None:
    semantic = Semantic("prompt", embed=embed)
    settings = (float(semantic.threshold or 0), LOOSE)
    titles = ("guards alone", f"default ({settings[0]})", f"loose ({LOOSE})")
    print(f"\n{'repeats served / traps served':<34}" + "".join(f"{title:>24}" for title in titles))
    for path in sorted(folder.iterdir()):
        pairs = pairs_of(path)
        if pairs:
            found = [guarded(pairs), *evaluate(pairs, semantic, settings)]
            name = path.name.partition(".")[0]
            print(f"{name:<24}{f'{len(pairs)} pairs':>10}" + "".join(f"{shown(each):>24}" for each in found))


def shown(found: Evaluation) -> str:
    recall = f"{found.recall:.1%}" if found.repeats else "-"
    return f"{recall} / " + (f"{found.wrong:.1%}" if found.traps else "-")


def pairs_of(path: Path) -> list[Labelled]:
    if path.suffix == ".json":
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Labelled(row["origin"], row["similar"], True) for row in rows if "origin" in row]
    if ".jsonl" not in path.name:
        return []
    read: Any = gzip.open if path.suffix == ".gz" else open
    with read(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Labelled(row["a"], row["b"], bool(row["label"])) for row in rows if "label" in row and "a" in row]


def costs(embed: Any, rounds: int, entries: int) -> None:
    texts = [f"How do I reset the {word} of my account number {at}?" for at in range(rounds) for word in ("password",)]
    embed(texts[:1])
    print(f"\n{'median of what a call takes':<50}{'ms':>8}")
    line("to embed a prompt", [timed(embed, [text]) for text in texts])
    line("guards, a pair", [timed(judged, *pair) for pair in pairwise(texts)])
    for url in ("memory://", "sqlite:///semantic.db"):
        line(f"the decision at {entries} entries, {url.partition(':')[0]}", decisions(url, entries, rounds))


def judged(new: str, old: str) -> None:
    objections(pair_of(new, old), GUARD_NAMES)


def decisions(url: str, entries: int, rounds: int) -> list[float]:
    """Return the seconds that calls took to find and judge candidates, without the embedding."""
    import numpy as np

    random = np.random.default_rng(1)
    vectors = random.standard_normal((entries + rounds, 384)).astype(np.float32)
    near = vectors[:rounds] + 0.2 * random.standard_normal((rounds, 384)).astype(np.float32)

    def embed(texts: list[str]) -> Any:
        number = int(texts[0].rpartition(" ")[2].rstrip("?"))
        return [vectors[number] if texts[0].startswith("How do I") else near[number]]

    path = Path("semantic.db")
    with Cache(url) as cache:

        @ai_cached(semantic=Semantic("prompt", embed=embed, threshold=0.9), cache=cache)
        def ask(prompt: str) -> str:
            return prompt

        for number in range(entries):
            ask.cache_put("an answer", f"How do I reset the password of account number {number}?")
        ask("What about account number 0?")  # reads the index
        with trace() as calls:
            for number in range(1, rounds):
                ask(f"What could reset the password of account number {number}?")
    for each in path.parent.glob("semantic.db*"):
        each.unlink()
    return [call.semantic.search_ms / 1000 for call in calls]


def timed(function: Any, *args: Any) -> float:
    started = time.perf_counter()
    function(*args)
    return time.perf_counter() - started


def line(title: str, seconds: list[float]) -> None:
    print(f"  {title:<48}{1000 * statistics.median(seconds):8.3f}")


if __name__ == "__main__":
    main()
