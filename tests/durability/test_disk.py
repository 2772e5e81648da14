"""What the model of a disk keeps, and that the record of a process is complete."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.durability.disk import Disk, Event, Loss


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "old").write_bytes(b"before")
    return tmp_path / "root"


def left(root: Path, events: list[Event], loss: Loss) -> dict[str, bytes]:
    """Files after a power cut that follows some events."""
    disk = Disk(root)
    for event in events:
        disk.apply(event)
    target = root.with_name("target")
    disk.write(target, loss, random.Random(0))
    files = (path for path in target.rglob("*") if path.is_file())
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in files}


def written(root: Path, name: str) -> list[Event]:
    return [Event("create", f"{root}/{name}"), Event("write", f"{root}/{name}", data=b"after")]


@pytest.mark.parametrize(
    ("loss", "contents"),
    [
        ("all", {}),
        ("contents", {"new": b""}),
        ("zeros", {"new": bytes(5)}),
        ("none", {"new": b"after"}),
    ],
)
def test_what_was_not_flushed_is_lost(root, loss, contents):
    assert left(root, written(root, "new"), loss) == {"old": b"before", **contents}


def test_a_flushed_file_without_its_folder_has_no_name(root):
    events = [*written(root, "new"), Event("flush", f"{root}/new")]
    assert left(root, events, "all") == {"old": b"before"}


def test_a_flushed_file_in_a_flushed_folder_stays(root):
    events = [*written(root, "new"), Event("flush", f"{root}/new"), Event("flush", str(root))]
    assert left(root, events, "all") == {"old": b"before", "new": b"after"}


def test_a_move_is_lost_or_kept_as_a_whole(root):
    inner = [Event("mkdir", f"{root}/inner"), Event("flush", str(root))]
    move = Event("rename", f"{root}/old", f"{root}/inner/new")
    assert left(root, [*inner, move], "all") == {"old": b"before"}


def test_a_flushed_folder_keeps_a_move_into_it(root):
    inner = [Event("mkdir", f"{root}/inner"), Event("flush", str(root))]
    move = Event("rename", f"{root}/old", f"{root}/inner/new")
    flush = Event("flush", f"{root}/inner")
    assert left(root, [*inner, move, flush], "all") == {"inner/new": b"before"}


def test_what_was_removed_comes_back_unless_its_folder_was_flushed(root):
    remove = Event("unlink", f"{root}/old")
    assert left(root, [remove], "all") == {"old": b"before"}


def test_an_appended_file_keeps_what_was_flushed(root):
    append = Event("append", f"{root}/old", data=b" and after")
    assert left(root, [append], "zeros") == {"old": b"before" + bytes(10)}
