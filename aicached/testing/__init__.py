"""
Everything that a test of a cached function, or of a new store, can use.

- `FakeClock`: time that a test moves: ``clock = FakeClock(); clock.advance(60)``.
- `ScriptedModel`: a model that says what is written down, in both colours:
  ``ask = ScriptedModel("one", RateLimited, "two").function("async")``.
- `ModelServer`: OpenAI's and Anthropic's HTTP interface on loopback, with latency and failures on demand:
  ``with ModelServer(latency=0.2) as server: OpenAI(base_url=server.url, api_key="any")``;
  `Failure` says in ``server.script(Failure(429, retry_after="0.1"), 200)`` what goes wrong.
- `FlakyStore`: a store in trouble: ``FlakyStore(MemoryStore(), fail=0.2)``.
- `StoreConformance`: what every store must do, as tests: subclass it and write ``make_store``.

Law: importing one of them imports none of the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import FakeClock
    from .conformance import StoreConformance
    from .flaky import FlakyStore
    from .models import RateLimited, ScriptedModel
    from .server import Failure, ModelServer

__all__ = [
    "Failure",
    "FakeClock",
    "FlakyStore",
    "ModelServer",
    "RateLimited",
    "ScriptedModel",
    "StoreConformance",
]

_HOMES = {
    "Failure": "server",
    "FakeClock": "clock",
    "FlakyStore": "flaky",
    "ModelServer": "server",
    "RateLimited": "models",
    "ScriptedModel": "models",
    "StoreConformance": "conformance",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
