"""After a power cut or a kill at any moment, the same command ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.durability.campaign import Attempt, Rehearsal, workplace
from tests.durability.disk import LOSSES, Disk
from tests.durability.recording import hindrance
from tests.durability.server import Server, fresh

COMMANDS = (
    *("index", "index gradients", "trace", "trace gradients", "add", "add gradients", "remove"),
    *("purge", "overwrite", "train", "tune", "retrain", "generate"),
)
POINTS = int(os.environ.get("CREDITLINE_POINTS", "10"))
"""Power cuts of the long form, for each command and loss."""
KILL_POINTS = int(os.environ.get("CREDITLINE_KILL_POINTS", "10000"))
"""Kills before and after a change, for each command; by default at all of them."""
KILLS = int(os.environ.get("CREDITLINE_KILLS", "50"))
"""Kills at random times."""

pytestmark = [
    pytest.mark.skipif(hindrance() is not None, reason=f"needs strace: {hindrance()}"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    with workplace() as place:
        yield place


def test_the_record_of_a_command_is_complete(server, folder):
    rehearsal = Rehearsal(server, "index", folder)
    events = rehearsal.events
    disk = Disk(fresh(folder / "replayed"))
    disk.root = rehearsal.place
    for event in events:
        disk.apply(event)
    disk.write(folder / "target", "none", random.Random(0))
    assert subprocess.run(["diff", "-r", folder / "target", rehearsal.place]).returncode == 0


@pytest.mark.parametrize(("name", "points"), [("add", 2), ("purge", 2)])
def test_some_power_cuts(server, folder, name, points):
    attempts = list(Rehearsal(server, name, folder).cut(points, ("all", "some"), set()))
    assert len(attempts) == 2 * points
    assert [attempt for attempt in attempts if attempt.problems] == []


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_many_power_cuts(server, folder, name):
    attempts = list(Rehearsal(server, name, folder).cut(POINTS, LOSSES[:-1], set()))
    assert [attempt for attempt in attempts if attempt.problems] == []


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_a_kill_before_and_after_every_change(server, folder, name):
    attempts = list(Rehearsal(server, name, folder).cut(KILL_POINTS, ("none",), set()))
    assert [attempt for attempt in attempts if attempt.problems] == []


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_kills_at_random_times(server, folder, name):
    rehearsal, rng = Rehearsal(server, name, folder), random.Random(name)
    attempts: list[Attempt] = []
    while len(attempts) < KILLS:
        attempts += rehearsal.kill(rng)
    assert [attempt for attempt in attempts if attempt.problems] == []
