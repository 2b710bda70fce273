"""The page of ``aicached report``: its figures, its plots, in a browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from aicached import Cache, Usage, ai_cached
from aicached.cli.main import main

BROWSERS = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
VOID = {"meta", "link", "br", "rect", "line"}

#: Put into a copy of the page: what a person would see at a glance.
LOOK = """
<script>
addEventListener("load", () => {
  const seen = [...document.querySelectorAll("svg")].filter(svg => svg.getBoundingClientRect().width > 0);
  const box = node => node.getBoundingClientRect();
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  const texts = [...document.querySelectorAll("h1, h2, p, dt, dd > span, th, td, svg text")].filter(
      node => box(node).width > 0 && node.textContent.trim());
  const overlaps = [];
  texts.forEach((one, place) => texts.slice(place + 1).forEach(other => {
    if (!one.contains(other) && !other.contains(one) && meet(box(one), box(other)))
      overlaps.push([one.textContent, other.textContent]);
  }));
  const outside = [...document.querySelectorAll("svg text")].filter(node => box(node).width > 0 &&
      (box(node).right > box(node.ownerSVGElement).right + 1 || box(node).left < box(node.ownerSVGElement).left - 1));
  const sizes = [...document.querySelectorAll("svg text")].filter(node => box(node).width > 0).map(
      node => 13 * box(node.ownerSVGElement).width / node.ownerSVGElement.viewBox.baseVal.width);
  const empty = seen.filter(svg => !svg.ariaHidden && !svg.querySelector(".bar"));
  const pre = document.createElement("pre");
  pre.id = "seen";
  pre.textContent = JSON.stringify({
    plots: seen.length, empty: empty.length, overlaps, outside: outside.map(node => node.textContent),
    smallest: Math.min(...sizes), wider: document.documentElement.scrollWidth > innerWidth, width: innerWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    paper: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
  });
  document.body.append(pre);
});
</script>
"""


FRAME = """<!doctype html><meta name="color-scheme" content="light dark">
<iframe style="border: 0; width: {width}px; height: 1200px" srcdoc="{page}"></iframe>
<script>addEventListener("load", () =>
  document.body.append(frames[0].document.getElementById("seen").cloneNode(true)))</script>
"""


class Reader(HTMLParser):
    """Read a page: its words, what it would load, whether its tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert [] == self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert tag == self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


class Wall:
    """Be a clock that stands so many days ago."""

    def __init__(self) -> None:
        self.ago = 0

    def __call__(self) -> float:
        return time.time() - 86400 * self.ago


@pytest.fixture
def url(tmp_path) -> str:
    """Name a store with calls of a month, of functions with long names and strange ones."""
    url = f"sqlite:///{tmp_path}/answers.db"
    with Cache(url) as cache:
        wall = cache.ledger.wall = Wall()
        functions = []
        for name, cost in (("summarize", 0.5), ("Assistant.reply_to_a_customer_" + "x" * 60, 0.25), ("<b>&evil", 0.0)):

            def ask(prompt):
                time.sleep(0.0005)
                return {"answer": prompt}

            ask.__module__, ask.__qualname__ = "support", name
            functions.append(ai_cached(cache=cache, usage=lambda _, cost=cost: Usage("small", 900, 100, cost))(ask))
        for wall.ago in (29, 20, 13, 5, 1, 0):
            for place, ask in enumerate(functions):
                for index in range(10):
                    ask(index % (4 + place))
            cache.ledger.flush()
        functions[0].cache_refresh(1)
    return url


def written(url: str, tmp_path: Path) -> str:
    assert 0 == main(["report", "-o", str(tmp_path / "report.html"), "--url", url])
    return (tmp_path / "report.html").read_text()


def test_the_page_shows_the_figures(url, tmp_path):
    page = Reader(written(url, tmp_path))
    with Cache(url) as cache:
        stats, savings = cache.stats(), cache.savings()
    assert (181, 165) == (sum(stats.total[:3]), stats.hits)
    for figure in (f"{stats.hit_rate:.1%}", "181", f"${savings.cost:,.2f}", f"{savings.tokens:,}"):
        assert figure in page.text
    for words in ("support:summarize", "support:<b>&evil", "not stored yet 15", "a new answer was asked for 1"):
        assert words in page.text
    assert "15 are stored" in page.text
    assert "$0.5000" in page.text  # the most valuable entry
    assert not (tmp_path / "answers.db-journal").exists()


def test_the_page_loads_and_runs_nothing_and_needs_no_mouse(url, tmp_path):
    text = written(url, tmp_path)
    page = Reader(text)
    assert {"script", "iframe", "img", "button", "input", "a"}.isdisjoint(page.tags)
    assert [] == [name for name, _ in page.attributes if name.startswith("on")]
    assert ["data:,"] == [value for name, value in page.attributes if name in {"href", "src"}]
    assert "url(" not in text
    assert "@import" not in text
    plots = [value for name, value in page.attributes if name == "aria-label"]
    assert 4 == len(plots)
    assert all("at most" in words for words in plots)  # what a plot shows is said, too


def test_an_empty_cache_says_so(tmp_path):
    page = Reader(written(f"sqlite:///{tmp_path}/empty.db", tmp_path))
    for words in ("Nothing was counted", "Nothing was measured yet", "There were none", "Nothing is stored"):
        assert words in page.text


def test_a_page_that_cannot_be_written_is_one_line(url, tmp_path, capsys):
    assert 1 == main(["report", "-o", str(tmp_path / "no" / "report.html"), "--url", url])
    assert 1 == capsys.readouterr().err.count("\n")


def test_people_can_read_it_in_a_browser_large_and_small_light_and_dark(url, tmp_path):
    text = written(url, tmp_path)
    inner = escape(text.replace("</body>", f"{LOOK}</body>"), quote=True)
    for browser in BROWSERS[:1]:
        for width, look in ((1280, []), (400, []), (1280, ["--force-dark-mode"])):
            # In a frame, as windows have a least width.
            (tmp_path / "look.html").write_text(FRAME.format(width=width, page=inner))
            done = subprocess.run(
                [
                    browser,
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--enable-logging=stderr",
                    f"--user-data-dir={tmp_path}/browser",
                    "--window-size=1400,1200",
                    *look,
                    "--dump-dom",
                    (tmp_path / "look.html").as_uri(),
                ],
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert "CONSOLE" not in done.stderr
            seen = json.loads(unescape(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)[1]))
            assert (0, [], [], False) == (seen["empty"], seen["overlaps"], seen["outside"], seen["wider"]), seen
            assert (width, True) == (seen["width"], seen["plots"] >= 4)
            assert seen["smallest"] >= 11
            assert bool(look) == seen["dark"]
            assert seen["paper"] != seen["ink"]
