"""A path counts with the content of the file: seen when it changes, however well that is hidden."""

from __future__ import annotations

import builtins
import os
import pathlib

import pytest

from aicached import UnkeyableArgument
from aicached.keys import files
from tests.keys.calls import digest

LONG_AGO = 10**9


@pytest.fixture
def settled(monkeypatch):
    """Let file times count as old at once: what the digest is remembered by is all that tells a change."""
    monkeypatch.setattr(files, "_SETTLED", -1e12)


@pytest.fixture
def reads(monkeypatch):
    """Count what is opened."""
    opened = []

    def counting(path, *args, **kwargs):
        opened.append(path)
        return builtins.open(path, *args, **kwargs)

    monkeypatch.setattr(files, "open", counting, raising=False)
    return opened


def test_the_content_of_a_file_counts(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("one")
    before = digest(path)
    assert digest(path) == before
    path.write_text("two")
    assert digest(path) != before
    path.write_text("one")
    assert digest(path) == before


def test_a_change_of_the_same_size_with_the_time_set_back_is_seen(tmp_path, settled):
    path = tmp_path / "prompt.txt"
    path.write_text("one")
    os.utime(path, (LONG_AGO, LONG_AGO))
    before = digest(path)
    path.write_text("two")
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert path.stat().st_mtime == LONG_AGO
    assert digest(path) != before


def test_another_file_in_its_place_is_seen(tmp_path, settled):
    path, other = tmp_path / "prompt.txt", tmp_path / "other.txt"
    for file, text in ((path, "one"), (other, "two")):
        file.write_text(text)
        os.utime(file, (LONG_AGO, LONG_AGO))
    before = digest(path)
    other.replace(path)
    assert digest(path) != before


def test_a_settled_file_is_read_once(tmp_path, settled, reads):
    path = tmp_path / "prompt.txt"
    path.write_text("one")
    digest(path)
    digest(path)
    assert reads == [path]


def test_a_file_changed_within_two_seconds_is_read_each_time(tmp_path, reads):
    path = tmp_path / "prompt.txt"
    path.write_text("one")
    digest(path)
    digest(path)
    assert reads == [path, path]


def test_an_old_modification_time_alone_does_not_settle_a_file(tmp_path, reads):
    path = tmp_path / "prompt.txt"
    path.write_text("one")
    os.utime(path, (LONG_AGO, LONG_AGO))
    digest(path)
    digest(path)
    assert reads == [path, path]


def test_nothing_an_empty_file_and_a_folder_are_three_things(tmp_path):
    path = tmp_path / "thing"
    made = [digest(path)]
    path.write_text("")
    made.append(digest(path))
    path.unlink()
    path.mkdir()
    made.append(digest(path))
    assert len(set(made)) == 3


def test_two_paths_to_one_content_are_two_keys(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("same")
    assert digest(tmp_path / "a") != digest(tmp_path / "b")


def test_a_pure_path_names_no_file(tmp_path):
    path = tmp_path / "prompt.txt"
    before = digest(pathlib.PurePath(path))
    path.write_text("one")
    assert digest(pathlib.PurePath(path)) == before


def test_a_link_counts_by_what_it_leads_to(tmp_path):
    (tmp_path / "file").write_text("one")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    before = digest(tmp_path / "link")
    (tmp_path / "file").write_text("two")
    assert digest(tmp_path / "link") != before


def test_a_large_file_is_unkeyable_and_the_message_says_up_to_where(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST", 10)
    path = tmp_path / "video.mp4"
    path.write_bytes(b"0123456789")
    digest(path)
    path.write_bytes(b"01234567890")
    with pytest.raises(UnkeyableArgument, match=r"value is a pathlib.*11 bytes; content is read up to 10"):
        digest(path)


def test_a_pipe_is_unkeyable_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnkeyableArgument, match="no regular file"):
        digest(tmp_path / "pipe")


def test_a_path_that_cannot_be_looked_at_is_unkeyable():
    with pytest.raises(UnkeyableArgument, match="cannot be looked at"):
        digest(pathlib.Path("a\x00b"))


def test_a_file_that_cannot_be_read_is_unkeyable(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError

    (tmp_path / "secret").write_text("one")
    monkeypatch.setattr(files, "open", refuse, raising=False)
    with pytest.raises(UnkeyableArgument, match=r"cannot be read \(PermissionError\)"):
        digest(tmp_path / "secret")


def test_digests_are_remembered_up_to_a_bound(tmp_path, settled, monkeypatch):
    monkeypatch.setattr(files, "_known", dict.fromkeys(((n,) for n in range(10_000)), b""))
    path = tmp_path / "prompt.txt"
    path.write_text("one")
    digest(path)
    assert len(files._known) == 1
