"""What the tests of keys ask: a call's key, a value's digest, a function's version."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

from aicached.keys.fingerprint import Fingerprint
from aicached.keys.keyer import Keyer
from aicached.keys.lanes import Lane
from aicached.policy import Policy, declare

ROOT = Path(__file__).parents[2]


def keyer(function: Any, **options: Any) -> Keyer:
    """Return what makes the keys of *function*, with options as `ai_cached` takes them."""
    return Keyer(function, Policy(**declare(options, "test")), "tests")


def key(function: Any, /, *args: Any, **kwargs: Any) -> bytes:
    """Return the key of ``function(*args, **kwargs)``, decorated without options."""
    return call(keyer(function), *args, **kwargs)


def call(made: Keyer, /, *args: Any, **kwargs: Any) -> bytes:
    """Return the key of a call."""
    return made.key(None, args, kwargs, (), 0)[1]


def ask(value: Any) -> Any:
    """Be a function that is asked about anything."""


ASK = keyer(ask)


def digest(value: Any) -> bytes:
    """Return the key of ``ask(value)``."""
    return call(ASK, value)


def lane() -> Lane:
    return Lane(b"tests", (), b"")


def version(function: Any, pinned: Any = None, ignore: tuple[str, ...] = ()) -> bytes:
    """Return the version of a function as a fresh look finds it."""
    return Fingerprint(function, pinned, frozenset(ignore)).current()


def module(source: str, *, name: str = "aicached_tests_made", filename: str = "made.py", line: int = 0) -> Any:
    """Return a module made of *source*, moved down by so many lines, in a file of that name."""
    made = sys.modules[name] = types.ModuleType(name)
    exec(compile("\n" * line + source, filename, "exec", dont_inherit=True), vars(made))
    return made


def python(*arguments: str, seed: str = "0", cwd: Path | None = None) -> str:
    """Run Python with these arguments and a hash seed, and return what it prints."""
    environment = {"PYTHONPATH": f"{ROOT}", "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
