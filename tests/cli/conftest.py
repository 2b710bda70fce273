"""A project with a script, its cache filled, and what runs commands in it."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aicached.cache import forget_default
from aicached.cli.main import main
from tests.terminal import on_a_terminal

APP = """
    import sys
    from aicached import Usage, ai_cached

    PROMPT_VERSION = 3

    def tags(prompt, *_, **__):
        return [f"about {prompt}"]

    def usage(answer):
        return Usage("small", 30, 20, 0.25)

    @ai_cached(ttl="1h", retry=False, tags=tags, usage=usage)
    def ask(prompt, model="small"):
        if "fail" in prompt:
            raise ValueError("a secret prompt")
        return {"answer": prompt, "version": PROMPT_VERSION}

    @ai_cached
    async def aask(prompt):
        return prompt

    def plain(prompt):
        return prompt
"""


class Done(NamedTuple):
    """Say what a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Project:
    """Be a folder with a script, whose functions were called."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def __call__(self, *arguments: str) -> Done:
        """Run a command in this process."""
        sys.modules.pop("app.py", None)
        self.capsys.readouterr()
        code = main(arguments)
        forget_default()
        return Done(code, *self.capsys.readouterr())

    def on_a_terminal(self, *arguments: str) -> Done:
        """Run a command in a process of its own, on a terminal of 80 columns."""
        code, shown = on_a_terminal([sys.executable, "-m", "aicached", *arguments], self.folder)
        return Done(code, shown, "")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    (folder / "app.py").write_text(textwrap.dedent(APP))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield Project(folder, capsys)
    sys.modules.pop("app.py", None)


@pytest.fixture
def filled(project: Project) -> Project:
    """Give the project after five calls, two of which hit; as they come from ``python app.py``."""
    (project.folder / "prompts.txt").write_text("a\nb\n\na\n")
    assert 0 == project("warm", "app.py:ask", "prompts.txt", "--concurrency", "1").code
    (project.folder / "prompts.txt").write_text("a\nc\n")
    assert 0 == project("warm", "app.py:ask", "prompts.txt", "--concurrency", "1").code
    return project


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name a store where nobody listens."""
    monkeypatch.setenv("AICACHED_URL", "redis://user:secret@127.0.0.1:1/0")
    return os.environ["AICACHED_URL"]
