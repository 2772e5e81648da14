"""Processes that write and read one folder at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest


def play(module: str, *arguments: object) -> str:
    """Run a module whose process forks: this one has used Lance, and its threads, already."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.concurrency.{module}", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CREDITLINE_PROGRESS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-5000:]
    return result.stdout


@pytest.mark.slow
def test_no_change_is_lost_and_no_reader_sees_half_of_one(tmp_path: Path):
    seen = Counter(json.loads(play("one_index", tmp_path, "changes", 2, 0)))
    assert seen["written"] >= 2
    assert seen["read"]


@pytest.mark.long
def test_many_changes_at_once(tmp_path: Path, capsys):
    seen = play("one_index", tmp_path, "changes", 100, 1000)
    with capsys.disabled():
        print(f"\n{seen}")


@pytest.mark.slow
def test_processes_that_fit_the_same_at_once_agree(tmp_path: Path):
    play("one_index", tmp_path / "index", "fit", 1, 0)


@pytest.mark.slow
def test_a_folder_is_written_once_by_the_same_commands_at_once(tmp_path: Path):
    seen = Counter(json.loads(play("one_folder", tmp_path, "train", 1, 0)))
    assert seen["done"] >= 2


@pytest.mark.long
def test_a_folder_is_written_once_many_times(tmp_path: Path, capsys):
    seen = play("one_folder", tmp_path, "train, generate, retrain", 20, 100)
    with capsys.disabled():
        print(f"\n{seen}")
