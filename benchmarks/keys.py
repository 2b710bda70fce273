"""How long the key of a long conversation takes that was never seen before: `python benchmarks/keys.py [--quick]`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from measure import Bench, Chat, chat, json_key

from aicached import Cache, ai_cached


def ask(model: str, messages: list[dict[str, str]], temperature: float) -> str:
    return "hi"


def unseen() -> Iterator[list[Chat]]:
    """Give ever new conversations: 100 messages, 92 KB as JSON."""
    for number in itertools.count():
        yield json.loads(json.dumps([chat(10 * number + i, messages=100, characters=880) for i in range(10)]))


def by_hand(**chat: Any) -> str:
    return json_key(chat)


def main() -> None:
    bench = Bench()
    with Cache("memory://") as cache:
        key = ai_cached(ask, cache=cache).cache_key
        contenders = {"aicached": key, "json.dumps(sort_keys=True) + sha256": by_hand}
        bench.compare("key of 100 new messages, 92 KB", contenders, unseen())
    bench.loop.close()


if __name__ == "__main__":
    main()
