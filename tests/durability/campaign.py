"""Many power cuts and kills of small commands, each followed by the same command again.

    python -m tests.durability.campaign power --points 20 --out power.json
    python -m tests.durability.campaign points --out points.json
    python -m tests.durability.campaign kills --count 1000 --out kills.json

Every attempt is a line of the file, and the same call continues.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.durability.disk import LOSSES, Disk, Event, Loss
from tests.durability.recording import read_events, record_calls
from tests.durability.server import Server, fresh

KEEP_READING = ("trace", "trace gradients", "add", "add gradients", "remove", "purge")
"""Commands during which an index can be read, and is that of before or after."""
MEMORY = Path("/dev/shm")
"""A place where flushing takes no time."""


@dataclass(frozen=True)
class Attempt:
    """A power cut or kill, and what was wrong afterwards.

    Attributes:
        command: its name.
        at: what it was interrupted by, and when.
        problems: descriptions; empty if the result is that of an uninterrupted run.
    """

    command: str
    at: str
    problems: list[str] = field(default_factory=list)


class Rehearsal:
    """One command, with the results of an uninterrupted run.

    Args:
        server: runs commands.
        name: of the command.
        folder: an empty folder.
    """

    def __init__(self, server: Server, name: str, folder: Path) -> None:
        self.server, self.name, self.folder = server, name, folder
        self.base, self.place, self.copy = (folder / x for x in ("base", "place", "copy"))
        server.expect("before", name, fresh(self.base))
        fresh(self.place, self.base)
        self.seconds = server.call("run", name, self.place)["seconds"]
        self.expected = server.expect("result", name, self.place)
        self.states: list[Any] = []
        if name in KEEP_READING:
            self.states = [server.expect("reads", name, x) for x in (self.place, self.base)]

    @cached_property
    def events(self) -> list[Event]:
        """What an uninterrupted run changes."""
        log = self.folder / "strace.log"
        with record_calls(self.server.pid, log):
            self.server.expect("run", self.name, fresh(self.place, self.base))
        return read_events(log, self.place)

    def cut(self, points: int, losses: Sequence[Loss], done: set[str]) -> Iterator[Attempt]:
        """Cut the power after some of the events, all if there are fewer.

        Args:
            points: how many, spread evenly; the last event is one of them.
            losses: what is lost.
            done: `at` of the attempts that need not be made again.
        """
        events = self.events
        step = max(1.0, len(events) / points)
        selection = {len(events) - round(i * step) for i in range(points)}
        disk = Disk(fresh(self.place, self.base))
        for number, event in enumerate(events, 1):
            disk.apply(event)
            for loss in losses:
                at = f"{loss} lost after {number} of {len(events)}"
                if number in selection and at not in done:
                    shutil.rmtree(self.place)
                    disk.write(self.place, loss, random.Random(number))
                    problems = self._check(is_over=number == len(events))
                    where = str(event).replace(str(self.place), "") if problems else ""
                    yield Attempt(self.name, at, [*problems, where] if problems else [])

    def kill(self, rng: random.Random) -> list[Attempt]:
        """Kill the command up to three times at random times, then run it to its end.

        Returns:
            The kills that came before the command had finished; the last one has the problems.
        """
        fresh(self.place, self.base)
        ends: list[str] = []
        problems: list[str] = []
        for _ in range(rng.randint(1, 3)):
            delay = rng.uniform(0.02, self.seconds)
            values = self.server.call("run", self.name, self.place, kill=delay)
            problems += [str(values)] if values["end"] == "failed" else []
            if values["end"] != "killed":
                break
            ends.append(f"killed after {delay:.3f} s")
        if not ends and not problems:
            return []
        problems += self._check()
        attempts = [Attempt(self.name, end) for end in ends[:-1]]
        return [*attempts, Attempt(self.name, ends[-1] if ends else "resumed", problems)]

    def _check(self, is_over: bool = False) -> list[str]:
        """Read what is left, run the command again, and compare with an uninterrupted run."""
        problems, call = [], self.server.call
        if self.states and call("reads", self.name, self._copied()).get("value") not in self.states:
            problems.append(f"a reader: {call('reads', self.name, self._copied())}")
        if is_over:
            values = call("result", self.name, self._copied())
            problems += [f"at the end, {x}" for x in self._differences(values, is_lasting=True)]
        values = call("run", self.name, self.place)
        if values["end"] != "done":
            return [*problems, str(values)]
        return problems + self._differences(call("result", self.name, self.place))

    def _copied(self) -> Path:
        return fresh(self.copy, self.place)

    def _differences(self, values: dict[str, Any], is_lasting: bool = False) -> list[str]:
        """What differs from the expected result.

        Args:
            values: answer to a request for the result.
            is_lasting: results of fitting may be missing, and what was removed may be there again.
        """
        if values["end"] != "done":
            return [str(values)]
        one, two = self.expected, values["value"]
        keys = {key for key in (*one, *two) if key != "files" and one.get(key) != two.get(key)}
        lines = [f"{key}: {one.get(key)} -> {two.get(key)}" for key in sorted(keys)]
        for name in sorted({*one["files"], *(() if is_lasting else two["files"])}):
            before, after = (x["files"].get(name, "absent") for x in (one, two))
            if before != after:
                lines.append(f"{name}: {before} -> {after}")
        return [line for line in lines if not (is_lasting and "fitted" in line)]


@contextmanager
def workplace() -> Iterator[Path]:
    """A temporary folder, where possible one on which flushing takes no time."""
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="durability-", dir=place) as folder:
        yield Path(folder)


def _attempts(path: Path) -> list[Attempt]:
    if not path.is_file():
        return []
    return [Attempt(**json.loads(line)) for line in path.read_text().splitlines()]


def _record(path: Path, attempt: Attempt) -> None:
    with path.open("a") as file:
        file.write(json.dumps(asdict(attempt)) + "\n")
    if attempt.problems:
        print(attempt, flush=True)


def cut_power(names: Sequence[str], points: int, losses: Sequence[Loss], out: Path) -> None:
    """Cut the power during commands, and record the attempts."""
    for name in names:
        done = {attempt.at for attempt in _attempts(out) if attempt.command == name}
        with workplace() as folder, Server() as server:
            for attempt in Rehearsal(server, name, folder).cut(points, losses, done):
                _record(out, attempt)


def kill(names: Sequence[str], count: int, seed: int, out: Path) -> None:
    """Kill commands at random times, in turn, until there are `count` kills in the record."""
    number = len(_attempts(out))
    rng, turn = random.Random(f"{seed}-{number}"), number
    with workplace() as folder, Server() as server:
        rehearsals = []
        for name in names:
            (folder / name).mkdir()
            rehearsals.append(Rehearsal(server, name, folder / name))
        while number < count:
            for attempt in rehearsals[turn % len(rehearsals)].kill(rng):
                _record(out, attempt)
                number += 1
            turn += 1


def main() -> None:
    """Run a campaign from the command line."""
    from tests.durability.commands import COMMANDS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["power", "points", "kills"])
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--losses", nargs="+", choices=LOSSES[:-1], default=LOSSES[:-1])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    started = time.monotonic()
    if options.kind == "kills":
        kill(options.commands, options.count, options.seed, options.out)
    else:
        losses = options.losses if options.kind == "power" else LOSSES[-1:]
        cut_power(options.commands, options.points, losses, options.out)
    attempts = _attempts(options.out)
    print(f"{len(attempts)} attempts, {sum(bool(a.problems) for a in attempts)} with problems")
    print(dict(Counter(a.command for a in attempts)), f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
