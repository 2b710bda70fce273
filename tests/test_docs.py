"""Every code block of the README and the docs runs, and what they point at is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aicached.testing import ModelServer

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


WITH_CODE = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_python_blocks_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path):
    script = tmp_path / "page.py"
    script.write_text("\n\n".join(blocks(page, "python")))
    with ModelServer() as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-W", "error", script.name], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr


def test_the_first_example_hits_at_its_second_call_and_at_once_in_a_second_run(tmp_path: Path):
    script = tmp_path / "five_lines.py"
    script.write_text(blocks(ROOT / "README.md", "python")[0])
    said = []
    with ModelServer() as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none", "PYTHONPATH": str(ROOT)}
        for _ in range(2):
            said.append(
                subprocess.check_output([sys.executable, script.name], cwd=tmp_path, env=environment, text=True)
            )
        assert server.calls == 1
    assert "CacheInfo(hits=1, misses=1," in said[0]
    assert "CacheInfo(hits=2, misses=0," in said[1]


def test_the_store_in_the_docs_keeps_the_contract(tmp_path: Path):
    suite = tmp_path / "test_folder_store.py"
    suite.write_text("\n\n".join(blocks(ROOT / "docs" / "stores.md", "python")))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error", suite.name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d\d passed", done.stdout), done.stdout


def test_the_make_targets_that_the_pages_name_exist():
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for page in PAGES for block in blocks(page, "console") for name in re.findall(r"make ([\w-]+)", block)
    }
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
