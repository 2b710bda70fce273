"""Every command: on a terminal of 80 columns, as JSON, with a store that is down, and with nonsense."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap

import pytest

from aicached import Cache
from aicached.cli.main import main

KEYED = {"show", "invalidate"}
COMMANDS = {
    "stats": ["stats"],
    "savings": ["savings"],
    "savings calculated": ["savings", "--requests-per-day", "10000"],
    "list": ["list"],
    "show": ["show"],
    "explain": ["explain", "app.py:ask", "a"],
    "explain parameters": ["explain", "app.py:ask"],
    "warm": ["warm", "app.py:ask", "prompts.txt"],
    "invalidate": ["invalidate"],
    "clear": ["clear", "--yes"],
    "purge": ["purge"],
    "save": ["save", "answers"],
    "report": ["report", "-o", "report.html"],
    "doctor": ["doctor"],
}
EXPECTED = {
    "stats": ["app.py:ask", "40.0%"],
    "savings": ["$0.5000", "60", "40"],
    "savings calculated": ["$10.50", "$315.00", "70.0%"],
    "list": ["app.py:ask", "fresh for", "50"],
    "show": ["app.py:ask", '"answer"'],
    "explain": ["hit: stored"],
    "explain parameters": ["prompt, model", "PROMPT_VERSION"],
    "warm": ["0 kept, 2 hits, 0 failed"],
    "invalidate": ["1 forgotten"],
    "clear": ["cleared: namespace 'default'"],
    "purge": ["0 purged"],
    "save": ["3 saved: answers"],
    "report": ["written: report.html"],
    "doctor": ["SQLite", "median", "Nothing to change."],
}
each_command = pytest.mark.parametrize("name", COMMANDS)


def command(project, name):
    given = COMMANDS[name]
    return [*given, project("list", "--json").json[0]["key"][:12]] if name in KEYED else given


@each_command
def test_its_output_fits_a_terminal_of_80_columns(filled, name):
    done = filled.on_a_terminal(*command(filled, name))
    assert 0 == done.code, done.out
    for words in EXPECTED[name]:
        assert words in done.out, done.out
    assert 80 >= max(len(line) for line in re.split("[\r\n]", done.out))


@each_command
def test_with_json_stdout_holds_json_alone(filled, name):
    done = filled(*command(filled, name), "--json")
    assert (0, "") == (done.code, done.err)
    assert isinstance(done.json, (dict, list))


@pytest.mark.parametrize("more", [[], ["--json"]])
@each_command
def test_a_store_that_is_down_is_one_line_and_code_1(project, nowhere, name, more):
    (project.folder / "prompts.txt").write_text("a\n")
    given = [*COMMANDS[name], "abcdef123456"] if name in KEYED else COMMANDS[name]
    done = project(*given, *more)
    if name in {"savings calculated", "explain parameters", "warm", "explain"}:
        # They ask no store, or go on without it, as every call does.
        assert 0 == done.code
        return
    assert (1, "", 1) == (done.code, done.out, done.err.count("\n")), done
    assert "127.0.0.1:1" in done.err
    assert "secret" not in done.err


NONSENSE = [
    ["nonsense"],
    [],
    ["stats", "--colour"],
    ["stats", "more"],
    ["stats", "--url", "ftp://somewhere"],
    ["savings", "--since", "yesterday"],
    ["savings", "--requests-per-day", "-5"],
    ["savings", "--requests-per-day", "5", "--hit-rate", "1.5"],
    ["savings", "--requests-per-day", "many"],
    ["list", "--limit", "0"],
    ["show"],
    ["show", "xyz"],
    ["show", "abcd"],
    ["show", "abcd", "--trust", "no_such_module"],
    ["explain", "app.py"],
    ["explain", "app.py:nothing"],
    ["explain", "app.py:plain", "a"],
    ["explain", "nothing.py:ask"],
    ["explain", "no_such_module:ask", "a"],
    ["explain", "app.py:ask", "a", "modle=large"],
    ["warm", "app.py:ask"],
    ["warm", "app.py:ask", "nothing.txt"],
    ["warm", "app.py:ask", "broken.jsonl"],
    ["warm", "app.py:ask", "binary.txt"],
    ["warm", "app.py:ask", "prompts.txt", "--concurrency", "0"],
    ["invalidate"],
    ["invalidate", "abcd"],
    ["clear"],
    ["clear", "--yes", "--scope", "a", "--function", "app.py:ask"],
    ["purge", "--older-than", "soon"],
    ["purge", "--older-than", "soon", "--yes"],
    ["purge", "--scope", "a"],
    ["load", "app.py"],
    ["demo", "--url", "ftp://somewhere"],
]


@pytest.mark.parametrize("arguments", NONSENSE, ids=lambda arguments: " ".join(arguments) or "nothing")
def test_nonsense_is_one_line_and_code_2(project, arguments):
    (project.folder / "prompts.txt").write_text("a\n")
    (project.folder / "broken.jsonl").write_text('{"prompt": "a"}\n{"prompt"\n')
    (project.folder / "binary.txt").write_bytes(b"\xff\xfe\x00")
    done = project(*arguments)
    assert (2, "", 1) == (done.code, done.out, done.err.count("\n")), done
    assert done.err.startswith("aicached: ")


# What the figures are ------------------------------------------------------------------------------------------------


def test_stats_and_savings_tell_what_happened(filled):
    stats = filled("stats", "--json").json
    assert (0.4, 2, 3) == (stats["hit_rate"], stats["total"]["hits"], stats["functions"]["app.py:ask"]["misses"])
    savings = filled("savings", "--since", "2d", "--json").json
    assert (2, 100, 0.5) == (savings["calls"], savings["tokens"], savings["cost"])
    assert 2 == sum(day["calls"] for day in savings["days"].values())
    assert "all" in filled("stats").out


def test_nothing_counted_and_nothing_stored_are_said_so(project):
    assert "Nothing was counted yet" in project("stats").out
    assert "Nothing is stored" in project("list").out
    assert [] == project("list", "--json").json


def test_entries_are_listed_shown_and_forgotten_by_the_beginnings_of_their_keys(filled):
    listed = filled("list", "--json").json
    assert 3 == len(listed)
    assert 1 == len(filled("list", "--json", "--limit", "1").json)
    shown = [filled("show", entry["key"][:10], "--json").json for entry in listed]
    assert ["a", "b", "c"] == sorted(each["answer"]["answer"] for each in shown)
    assert {"tokens_in": 30, "tokens_out": 20, "cost": 0.25, "model": "small"} == shown[0]["usage"]
    gone = listed[0]["key"]
    assert [gone] == filled("invalidate", gone[:10], "--json").json["forgotten"]
    assert gone not in [entry["key"] for entry in filled("list", "--json").json]


def test_all_answers_with_a_tag_are_forgotten(filled):
    assert {"forgotten": [], "tags": ["about a"]} == filled("invalidate", "--tag", "about a", "--json").json
    assert not filled("explain", "app.py:ask", "a", "--json").json["hit"]
    assert filled("explain", "app.py:ask", "b", "--json").json["hit"]


def test_an_entry_of_the_script_is_found_and_a_miss_is_explained(filled):
    assert filled("explain", "app.py:ask", "a", "--json").json["hit"]
    assert filled("explain", "app.py:ask", "prompt=a", "model=small", "--json").json["hit"]
    missed = filled("explain", "app.py:ask", "a", "model=large", "--json").json
    assert (False, ["model"]) == (missed["hit"], missed["differs"])
    assert "miss: model differs" in filled("explain", "app.py:ask", "a", "model=large").out
    source = filled.folder / "app.py"
    # Of another length, as Python tells a file by its size and by the second in which it was written.
    source.write_text(source.read_text().replace("PROMPT_VERSION = 3", "PROMPT_VERSION = 44"))
    assert ["PROMPT_VERSION"] == filled("explain", "app.py:ask", "a", "--json").json["differs"]


def test_what_the_script_itself_keeps_the_command_finds(project):
    (project.folder / "run.py").write_text('from app import *\nprint(ask("hi"))\nprint(ask("hi"))\n')
    subprocess.run([sys.executable, "run.py"], cwd=project.folder, check=True, capture_output=True)
    assert project("explain", "app:ask", "hi", "--json").json["hit"]
    sys.modules.pop("app")
    stats = project("stats", "--json").json
    assert (1, 1) == (stats["total"]["hits"], stats["total"]["misses"])


def test_warming_reads_lines_json_and_tables(project):
    files = {
        "prompts.txt": "one\n\ntwo\n",
        "prompts.jsonl": '"three"\n["four", "large"]\n{"prompt": "five", "model": "large"}\n\n',
        "prompts.csv": 'prompt,model\n"six, really",large\nseven,small\n',
    }
    for name, text in files.items():
        (project.folder / name).write_text(text)
        done = project("warm", "app.py:ask", name, "--json")
        assert (0, "") == (done.code, done.err)
        assert (0, []) == (done.json["hits"], done.json["failed"])
    hits = [["one"], ["three"], ["four", "large"], ["five", "model=large"], ["six, really", "model=large"]]
    assert all(project("explain", "app.py:ask", *arguments, "--json").json["hit"] for arguments in hits)
    assert "1 kept" in project("warm", "app.py:aask", "prompts.txt").out.replace("2 kept", "1 kept")


def test_a_warming_that_failed_in_part_says_which_and_is_code_1(project):
    (project.folder / "prompts.txt").write_text("one\nfail\ntwo\n")
    done = project("warm", "app.py:ask", "prompts.txt")
    assert (1, "2 kept, 0 hits, 1 failed\n  1 x ValueError\n", "") == done
    assert "secret" not in done.out
    again = project("warm", "app.py:ask", "prompts.txt", "--json")
    assert (1, 2, [{"input": "fail", "error": "ValueError"}]) == (again.code, again.json["hits"], again.json["failed"])


def test_clearing_wants_a_yes_and_may_be_of_a_function_or_scope_alone(filled):
    assert 2 == filled("clear").code
    assert 3 == len(filled("list", "--json").json)
    assert "scope 'nobody'" in filled("clear", "--scope", "nobody", "--yes").out
    assert 3 == len(filled("list", "--json").json)
    assert 0 == filled("clear", "--function", "app.py:ask", "--yes").code
    assert [] == filled("list", "--json").json


def test_what_was_forgotten_is_purged_and_what_is_fresh_wants_a_yes(filled):
    filled("invalidate", "--tag", "about a")
    assert {"purged": 1} == filled("purge", "--json").json
    assert (2, "") == filled("purge", "--older-than", "0s")[:2]
    assert "0 purged" in filled("purge", "--older-than", "1h", "--yes").out
    assert 2 == len(filled("list", "--json").json)
    assert {"purged": 2} == filled("purge", "--older-than", "0s", "--yes", "--json").json


def test_a_namespace_goes_into_a_file_and_back(filled):
    assert {"saved": 3, "file": "answers"} == filled("save", "answers", "--json").json
    assert 0 == filled("clear", "--yes").code
    assert {"loaded": 3, "file": "answers"} == filled("load", "answers", "--json").json
    assert filled("explain", "app.py:ask", "a", "--json").json["hit"]
    assert 1 == filled("load", "nothing").code
    assert 1 == filled("save", "no/such/folder/answers").code


def test_the_doctor_looks_at_redis_and_says_what_to_change(project, redis_url):
    done = project("doctor", "--url", redis_url, "--json")
    assert (0, "") == (done.code, done.err)
    about = done.json
    assert about["version"].startswith("Redis ")
    assert (redis_url, "--url", "noeviction") == (about["store"], about["named by"], about["eviction"])
    assert any("maxmemory" in advice for advice in about["advice"])


def test_a_namespace_and_a_url_may_be_named(project, tmp_path):
    url = f"sqlite:///{tmp_path}/named.db"
    with Cache(url, namespace="other") as cache:
        cache.call(len, "hello")
    assert 1 == len(project("list", "--url", url, "--namespace", "other", "--json").json)
    assert [] == project("list", "--url", url, "--json").json
    (project.folder / "prompts.txt").write_text("a\n")
    assert 1 == project("warm", "app.py:ask", "prompts.txt", "--url", url, "--json").json["kept"]
    assert 1 == len(project("list", "--url", url, "--json").json)


def test_help_names_every_command(project):
    done = project("--help")
    assert 0 == done.code
    for name in ("demo", "stats", "savings", "list", "show", "explain", "warm", "invalidate", "clear", "save", "load"):
        assert f" {name} " in done.out


def test_without_the_extra_one_line_names_it():
    code = "import sys; sys.modules['typer'] = None; from aicached.cli.main import main; sys.exit(main(['stats']))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.endswith("pip install 'aicached[cli]'\n")


def test_what_nobody_foresaw_is_not_hidden(project, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(Cache, "stats", broken)
    with pytest.raises(ZeroDivisionError):
        main(["stats"])


def test_json_survives_every_kind_of_text(project):
    (project.folder / "prompts.jsonl").write_text(json.dumps("größe \U0001f600 \x00 ‮") + "\n")
    assert 1 == project("warm", "app.py:ask", "prompts.jsonl", "--json").json["kept"]
    key = project("list", "--json").json[0]["key"]
    assert "größe" in project("show", key, "--json").json["answer"]["answer"]
    assert "größe" in project("show", key).out


# Near matches --------------------------------------------------------------------------------------------------------

SEMANTIC = """
    import numpy
    from aicached import Semantic, ai_cached

    def embed(texts):
        return [numpy.array([float(len(text)), 1.0]) for text in texts]

    @ai_cached(semantic=Semantic(text="prompt", embed=embed, threshold=0.9, mode="shadow"))
    def ask(prompt):
        return prompt
"""


def test_near_matches_are_reported_and_tried_on_labelled_pairs(project):
    (project.folder / "near.py").write_text(textwrap.dedent(SEMANTIC))
    pairs = [
        {"a": "What is the capital of France?", "b": "What's the capital of France?", "label": 1},
        {"a": "Is it open on Monday?", "b": "Is it open on Tuesday?", "label": 0},
    ]
    (project.folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    assert "nothing was seen yet" in project("semantic", "report", "near.py:ask").out
    assert 0 == project("semantic", "report", "near.py:ask", "--json").json["calls"]
    tried = project("semantic", "eval", "near.py:ask", "pairs.jsonl")
    assert (0, "") == (tried.code, tried.err)
    assert "guards alone" in tried.out
    assert "guards alone" in project("semantic", "eval", "near.py:ask", "pairs.jsonl", "--json").json
    assert 80 >= max(map(len, tried.out.splitlines()))


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "app.py:ask", "pairs.jsonl"],
        ["eval", "app.py:ask", "broken.jsonl"],
        ["report", "app.py:ask", "--max-wrong", "2"],
        ["report"],
        ["nonsense"],
    ],
)
def test_nonsense_about_near_matches_is_one_line_and_code_2(project, arguments):
    (project.folder / "pairs.jsonl").write_text("")
    (project.folder / "broken.jsonl").write_text("{}\n")
    done = project("semantic", *arguments)
    assert (2, "", 1) == (done.code, done.out, done.err.count("\n")), done
