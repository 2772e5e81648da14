"""The server of small commands, as another process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """A process that forks one process for each command; see `tests.durability.commands`."""

    def __init__(self) -> None:
        paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.durability.commands"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert self._process.stdout is not None
        self.pid = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def call(self, call: str, name: str, place: Path, kill: float | None = None) -> dict[str, Any]:
        """Ask for one of `CALLS`, and return its answer, whatever it is."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"call": call, "name": name, "place": str(place), "kill": kill}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def expect(self, call: str, name: str, place: Path) -> Any:
        """Ask for a call that has to succeed, and return its value."""
        values = self.call(call, name, place)
        assert values["end"] == "done", values
        return values["value"]


def fresh(place: Path, copy_of: Path | None = None) -> Path:
    """Make a folder anew, empty or as a copy."""
    shutil.rmtree(place, ignore_errors=True)
    if copy_of is None:
        place.mkdir()
    else:
        shutil.copytree(copy_of, place)
    return place
