"""The names that users import, and what importing them costs."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import aicached

HEAVY = [
    "redis",
    "sqlite3",
    "tenacity",
    "pydantic",
    "openai",
    "anthropic",
    "httpx",
    "numpy",
    "genai_prices",
    "rich",
    "typer",
]


def python(script: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_names_what_there_is():
    names = aicached.__all__
    assert sorted(names) == names
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(aicached, name), name


def test_everything_has_a_docstring():
    undocumented = [name for name in aicached.__all__ if not inspect.getdoc(getattr(aicached, name))]
    assert [] == undocumented


@pytest.mark.parametrize(
    "module", ["typing", "errors", "stores", "stores.base", "testing", "stores.redis", "stores.sqlite", "stores.memory"]
)
def test_the_submodules_say_what_they_export(module):
    found = importlib.import_module(f"aicached.{module}")
    for name in found.__all__:
        assert getattr(found, name) is not None, name


def test_importing_it_imports_nothing_heavy():
    assert "[]" == python(f"import sys, aicached; print([name for name in {HEAVY} if name in sys.modules])")


def test_decorating_imports_nothing_heavy():
    script = f"""
import sys
from aicached import ai_cached

@ai_cached(ttl="1h", retry=3)
def ask(prompt): return prompt

print([name for name in {HEAVY} if name in sys.modules])
"""
    assert "[]" == python(script)


def test_a_call_in_memory_imports_no_other_store():
    script = f"""
import sys
from aicached import ai_cached

ask = ai_cached(lambda prompt: prompt, cache="memory://")
ask("hi")
ask("hi")
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert "[]" == python(script)


def test_it_has_a_version():
    assert all(part.isdigit() for part in aicached.__version__.split("."))
