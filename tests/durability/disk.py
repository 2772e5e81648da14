"""A model of a disk: what is left of recorded changes of files after a power cut.

The rules are those of POSIX, which promises less than most file systems keep. Contents of a file
are safe once the file was flushed (fsync). A name in a folder, new, moved or gone, is safe once the
folder was flushed; a move is safe as a whole. Everything else may be there after a power cut, or
not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

Kind = Literal[
    "create", "write", "append", "truncate", "flush", "rename", "link", "unlink", "mkdir", "rmdir"
]
Loss = Literal["all", "contents", "zeros", "some", "none"]
LOSSES: tuple[Loss, ...] = ("all", "contents", "zeros", "some", "none")
"""What is lost of all that was not flushed.

`"all"`: names and contents; `"contents"`: files are empty or as they were before; `"zeros"`: files
have their size and hold zeros; `"some"`: chance decides of each; `"none"`: a killed process."""


@dataclass(frozen=True)
class Event:
    """A change of the file system, or a flush.

    Attributes:
        kind: what was done.
        path: absolute.
        target: second path of `"rename"` and `"link"`.
        data: of `"write"` and `"append"`.
        at: offset of `"write"`, size of `"truncate"`.
    """

    kind: Kind
    path: str
    target: str = ""
    data: bytes = b""
    at: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.path}" + (f" -> {self.target}" if self.target else "")


@dataclass(eq=False)
class File:
    """A file: its contents now, and those that were flushed."""

    live: bytes = b""
    safe: bytes | None = None


@dataclass(eq=False)
class Folder:
    """A folder: its entries now, and those that are safe."""

    live: dict[str, File | Folder] = field(default_factory=dict)
    safe: dict[str, File | Folder] = field(default_factory=dict)


Entry = tuple[Folder, str, File | Folder | None]
"""A name of a folder, and what it stands for from now on."""


class Disk:
    """A folder and everything below it.

    Args:
        root: what is in it now is safe.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._top = _read(root)
        self._pending: list[list[Entry]] = []

    def apply(self, event: Event) -> None:
        """Do what was recorded."""
        folder, name = self._place(event.path)
        node = folder.live.get(name) if name else folder
        if event.kind == "flush":
            if isinstance(node, File):
                node.safe = node.live
            elif isinstance(node, Folder):
                self._flush(node)
        elif event.kind == "create":
            if node is None:
                self._change((folder, name, File()))
        elif event.kind == "mkdir":
            self._change((folder, name, Folder()))
        elif event.kind in ("unlink", "rmdir"):
            self._change((folder, name, None))
        elif event.kind in ("rename", "link"):
            other, new = self._place(event.target)
            moved = [(folder, name, None)] if event.kind == "rename" else []
            self._change(*moved, (other, new, node))
        elif isinstance(node, File):
            at = len(node.live) if event.kind == "append" else event.at
            before = node.live.ljust(at, b"\0")
            rest = before[at + len(event.data) :] if event.kind == "write" else b""
            node.live = before[:at] + event.data + rest

    def write(self, target: Path, loss: Loss, rng: random.Random) -> None:
        """Write what a power cut leaves now into a new folder.

        Args:
            target: the folder; it must not exist.
            loss: what is lost.
            rng: decides where chance does.
        """
        entries: dict[Folder, dict[str, File | Folder]] = {}
        for change in self._surviving_changes(loss, rng):
            for folder, name, node in change:
                _set(entries.setdefault(folder, dict(folder.safe)), name, node)
        self._write(self._top, target, entries, loss, rng)

    def _write(
        self,
        folder: Folder,
        target: Path,
        entries: dict[Folder, dict[str, File | Folder]],
        loss: Loss,
        rng: random.Random,
    ) -> None:
        target.mkdir()
        for name, node in entries.get(folder, folder.safe).items():
            if isinstance(node, Folder):
                self._write(node, target / name, entries, loss, rng)
            else:
                (target / name).write_bytes(_contents(node, loss, rng))

    def _surviving_changes(self, loss: Loss, rng: random.Random) -> list[list[Entry]]:
        if loss == "all":
            return []
        if loss != "some":
            return self._pending
        survivors: list[list[Entry]] = []
        for change in self._pending:
            if rng.random() < 0.5:
                survivors = [c for c in self._before(change) if c not in survivors] + survivors
                survivors.append(change)
        return [change for change in self._pending if change in survivors]

    def _flush(self, folder: Folder) -> None:
        """Make the names of a folder safe, and whatever has to come before."""
        for change in list(self._pending):
            if change in self._pending and any(place is folder for place, *_ in change):
                for earlier in [*self._before(change), change]:
                    for place, name, node in earlier:
                        _set(place.safe, name, node)
                    self._pending.remove(earlier)

    def _before(self, change: list[Entry]) -> list[list[Entry]]:
        """Pending changes of the same names, in order, that come before one."""
        index = next(i for i, other in enumerate(self._pending) if other is change)
        names = {(id(place), name) for place, name, _ in change}
        result: list[list[Entry]] = []
        for earlier in reversed(self._pending[:index]):
            keys = {(id(place), name) for place, name, _ in earlier}
            if names & keys:
                names |= keys
                result.insert(0, earlier)
        return result

    def _change(self, *entries: Entry) -> None:
        for folder, name, node in entries:
            _set(folder.live, name, node)
        self._pending.append(list(entries))

    def _place(self, path: str) -> tuple[Folder, str]:
        """The folder of a path, and its name there; the name is empty for the root."""
        parts = Path(path).relative_to(self.root).parts
        folder = self._top
        for part in parts[:-1]:
            inner = folder.live[part]
            assert isinstance(inner, Folder)
            folder = inner
        return folder, parts[-1] if parts else ""


def _read(path: Path) -> Folder:
    folder = Folder()
    for entry in path.iterdir():
        data = b"" if entry.is_dir() else entry.read_bytes()
        folder.live[entry.name] = _read(entry) if entry.is_dir() else File(data, data)
    folder.safe = dict(folder.live)
    return folder


def _set(entries: dict[str, File | Folder], name: str, node: File | Folder | None) -> None:
    if node is None:
        entries.pop(name, None)
    else:
        entries[name] = node


def _contents(file: File, loss: Loss, rng: random.Random) -> bytes:
    live, safe = file.live, file.safe or b""
    if loss == "none" or safe == live:
        return live
    same = np.frombuffer(live.ljust(len(safe), b"\0"), np.uint8)[: len(safe)]
    equal = same == np.frombuffer(safe, np.uint8)
    prefix = len(safe) if equal.all() else int(equal.argmin())
    zeros = live[:prefix].ljust(len(live), b"\0")
    if loss != "some":
        return zeros if loss == "zeros" else safe
    part = live[: rng.randint(min(prefix, len(live)), len(live))]
    return rng.choice([safe, zeros, live, part])
