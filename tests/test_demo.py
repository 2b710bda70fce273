"""The demo, as a user runs it: twice, on a machine that has never seen it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aicached.cli.main import main

ROOT = Path(__file__).resolve().parent.parent


def python(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with an empty home folder and without the user's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, env=kept | own, capture_output=True, text=True, timeout=60, check=False)


def demo(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo."""
    return python(home, "-m", "aicached", "demo", *arguments)


def row(page: str, label: str) -> list[float]:
    """Return the four figures in the row with *label*."""
    line = next(line for line in page.splitlines() if line.strip().startswith(label))
    return [float(figure.strip("$").replace(",", "")) for figure in line.removeprefix("  " + label).split()]


def test_the_first_run_pays_and_the_second_finds_everything(tmp_path):
    first = demo(tmp_path)
    # The second time as where no other extra is installed.
    alone = "import sys; sys.modules['typer'] = None; from aicached.cli.main import main; sys.exit(main())"
    second = python(tmp_path, "-c", alone, "demo")
    for done in (first, second):
        assert (done.returncode, done.stderr) == (0, "")
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert "\033" not in done.stdout
    assert "kept from an earlier run: 0\n" in first.stdout
    assert "kept from an earlier run: 8\n" in second.stdout
    assert row(first.stdout, "calls failed") == [1, 0, 1, 0]
    assert row(first.stdout, "retries survived") == [0, 1, 0, 1]
    calls, decorated_calls, acalls, decorated_acalls = row(first.stdout, "model calls")
    assert (calls, decorated_calls, acalls) == (10, 5, 10)
    assert decorated_acalls == 5  # simultaneous callers share one
    for label in ("tokens", "money"):
        raw, decorated, araw, adecorated = row(first.stdout, label)
        assert 0 < decorated < raw * 0.6
        assert 0 < adecorated < araw
        assert row(second.stdout, label)[1::2] == [0, 0]
    assert row(second.stdout, "model calls")[1::2] == [0, 0]
    raw, decorated, *_ = row(second.stdout, "seconds")
    assert decorated < raw / 10


def test_the_figures_come_as_json_and_from_any_store(monkeypatch, capsys):
    # In this process, where the model can be told to hurry.
    from aicached.cli import model

    monkeypatch.setattr(model.server, "latency", 0.0)
    assert main(["demo", "--json", "--url", "memory://"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["kept_from_an_earlier_run"] == 0
    assert figures["plain_decorated"]["model_calls"] == 5


def test_without_openai_one_line_says_what_to_install(tmp_path):
    code = "import sys; sys.modules['openai'] = None; from aicached.cli.main import main; sys.exit(main(['demo']))"
    done = python(tmp_path, "-c", code)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r".*pip install 'aicached\[demo\]'\n", done.stderr)


def test_a_command_must_be_chosen(monkeypatch, capsys):
    assert main([]) == 2
    assert "Missing command" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
