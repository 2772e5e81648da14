"""What a process changes in the file system, recorded by strace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.durability.disk import Event

CALLS = (
    "open,openat,creat,read,write,pwrite64,writev,lseek,dup,fcntl,truncate,ftruncate,fallocate,"
    "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "symlink,symlinkat,copy_file_range,sendfile,pwritev,pwritev2,mmap"
)
CANNOT = ("copy_file_range", "sendfile", "pwritev", "pwritev2", "symlink", "symlinkat", "fallocate")
"""Calls without their data in the record; a test that meets one fails."""
HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")
TEXT = re.compile(r'"([^"]*)"(\.\.\.)?')
NUMBERED = re.compile(r"(\d+)<([^>]*)>(\(deleted\))?")


def hindrance() -> str | None:
    """Why nothing can be recorded here; None if it can."""
    if sys.platform != "linux":
        return "processes are recorded on Linux only"
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True)
    return None if done.returncode == 0 else "strace may not be used here"


@contextmanager
def record_calls(pid: int, log: Path) -> Iterator[None]:
    """Record a process and those that it starts from now on."""
    options = ["-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o", str(log)]
    tracer = subprocess.Popen(
        ["strace", *options, "-p", str(pid)], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    assert "attached" in line, line
    try:
        yield
    finally:
        tracer.terminate()
        tracer.wait()
        tracer.stderr.close()


def read_events(log: Path, root: Path) -> list[Event]:
    """The recorded changes below a folder, in order."""
    return list(_Reader(root).events(_calls(log)))


def _calls(log: Path) -> Iterator[str]:
    """Lines of completed calls: interrupted ones are joined."""
    waiting: dict[str, str] = {}
    for line in log.read_text("ascii").splitlines():
        process, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            waiting[process] = text.removesuffix("<unfinished ...>")
        elif text.startswith("<..."):
            yield waiting.pop(process) + text.partition("resumed>")[2]
        else:
            yield text


class _Reader:
    """Follows the positions of open files.

    Args:
        root: folder whose changes are wanted.
    """

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.positions: dict[int, list[int]] = {}

    def events(self, calls: Iterator[str]) -> Iterator[Event]:
        for text in calls:
            name, _, rest = text.partition("(")
            arguments, _, result = rest.rpartition(" = ")
            is_done = name.isidentifier() and result and not result.startswith("-1")
            if is_done and self.root in _decode(arguments + result):
                yield from self._event(name, arguments, result)

    def _event(self, name: str, arguments: str, result: str) -> Iterator[Event]:
        number, path = _descriptor(arguments)
        value = int(re.match(r"\d+", result)[0]) if result[0].isdigit() else 0  # type: ignore[index]
        is_ours = path.startswith(self.root)
        if name in ("open", "openat", "creat"):
            target = _descriptor(result)[1]
            self.positions[value] = [0]
            if "O_CREAT" in arguments or name == "creat":
                yield Event("create", target)
            if "O_TRUNC" in arguments or name == "creat":
                yield Event("truncate", target)
            if "O_APPEND" in arguments:
                self.positions[value] = [-1]
        elif name == "lseek" or name == "dup" or "F_DUPFD" in arguments:
            place = self.positions.setdefault(number, [0])
            if name == "lseek":
                place[0] = value
            else:
                self.positions[value] = place
        elif name == "read":
            self.positions.setdefault(number, [0])[0] += value
        elif name in ("write", "writev", "pwrite64"):
            if is_ours:
                yield self._write(name, number, path, arguments, value)
        elif name in CANNOT:
            raise AssertionError(f"{name} is not recorded: {_decode(arguments)}")
        elif name == "mmap":
            is_written = "PROT_WRITE" in arguments and "MAP_SHARED" in arguments
            assert not is_written, f"writing to a mapped file is not recorded: {_decode(arguments)}"
        elif name in ("fsync", "fdatasync"):
            yield Event("flush", path)
        elif name in ("truncate", "ftruncate"):
            sizes = re.search(r", (\d+)\)", arguments)
            assert sizes is not None
            yield Event("truncate", path or _paths(arguments)[0], at=int(sizes[1]))
        elif name.startswith(("rename", "link")):
            source, target = _paths(arguments)
            yield Event("rename" if name.startswith("rename") else "link", source, target)
        elif name.startswith(("unlink", "mkdir", "rmdir")):
            is_folder = name == "rmdir" or "AT_REMOVEDIR" in arguments
            kind = "mkdir" if name.startswith("mkdir") else "rmdir" if is_folder else "unlink"
            yield Event(kind, _paths(arguments)[0])  # type: ignore[arg-type]

    def _write(self, name: str, number: int, path: str, arguments: str, count: int) -> Event:
        data = b"".join(_bytes(match[0]) for match in TEXT.findall(arguments))[:count]
        assert len(data) == count, "the record holds all that was written"
        if name == "pwrite64":
            return Event("write", path, data=data, at=int(arguments.rstrip(")").split(", ")[-1]))
        place = self.positions.setdefault(number, [0])
        at = place[0]
        if at < 0:  # appended: the size is known to the disk
            return Event("append", path, data=data)
        place[0] += count
        return Event("write", path, data=data, at=at)


def _paths(arguments: str) -> list[str]:
    """Paths of a call, absolute: relative ones follow the descriptor of their folder."""
    result = []
    for folder, text in re.findall(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"', arguments):
        path = _decode(text)
        result.append(path if path.startswith("/") else f"{_decode(folder)}/{path}")
    return result


def _descriptor(text: str) -> tuple[int, str]:
    match = NUMBERED.match(text.strip())
    return (int(match[1]), _decode(match[2])) if match else (-1, "")


def _decode(text: str) -> str:
    return HEX.sub(lambda match: _bytes(match[0]).decode("utf-8", "replace"), text)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
