"""Checking everything in a folder that Creditline wrote, in full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from creditline.checksum import FileRecord, damaged, unreadable
from creditline.data.png import is_intact_png
from creditline.diffusion.saving import RECORD as MODEL
from creditline.diffusion.saving import RECORD_SCHEMA
from creditline.errors import CreditlineError
from creditline.evaluation.counterfactual.experiment import RESULT
from creditline.evaluation.truth.files import RECORD as TABLES
from creditline.indexing.factor_blocks import DESCRIPTION, UNITS, FactorBlocks
from creditline.indexing.factor_blocks import SCHEMA as BLOCKS
from creditline.indexing.factor_cache import PART
from creditline.indexing.nearest import RECALL
from creditline.indexing.nearest import SCHEMA as NEAREST
from creditline.indexing.projection import NAME as PROJECTION
from creditline.indexing.table_record import SCHEMA as TABLE_RECORD
from creditline.indexing.table_version import TABLE
from creditline.json_schema import FILES, JsonSchema
from creditline.manifest import NAME, Manifest
from creditline.owner import ASIDE
from creditline.runtime import Runtime
from creditline.stored_arrays import check_array, check_tensors
from creditline.stored_json import OBJECT, read_json
from creditline.trace import Trace

Check = Callable[[], object]
State = Literal["intact", "damaged", "unchecked"]
ADVICE = "Restore it from a backup, or make it again."
SCHEMAS = {
    MODEL: RECORD_SCHEMA,
    TABLES: JsonSchema(FILES),
    DESCRIPTION: BLOCKS,
    RECALL: NEAREST,
}
NO_CHECKSUM = ("samples", "before-and-after.png")


@dataclass(frozen=True)
class FileState:
    """What a check of a file found.

    Attributes:
        name: its path, relative to the folder.
        bytes: its size; 0 if it is missing.
        state: `"unchecked"` for files that nothing is read from and that have no checksum.
        message: what is wrong and what to do; empty if nothing is.
    """

    name: str
    bytes: int
    state: State
    message: str = ""


@dataclass(frozen=True)
class Verification:
    """What a check of a folder or file found.

    Attributes:
        path: what was checked.
        files: its files, in order of their names.
    """

    path: Path
    files: tuple[FileState, ...]

    @property
    def damaged(self) -> tuple[FileState, ...]:
        """The files that are missing or damaged."""
        return tuple(file for file in self.files if file.state == "damaged")


def verify(path: str | Path, *, runtime: Runtime | None = None) -> Verification:
    """Check everything that is stored in a folder, or a trace, and change nothing.

    Args:
        path: an index, a training run, a model, generated images, a ground truth, a
            counterfactual, or a trace that `to_json` wrote.
        runtime: shows progress.

    Returns:
        The state of every file; `damaged` holds those that are missing or damaged.

    Raises:
        CreditlineError: if nothing of Creditline is there.
    """
    path = Path(path)
    checks: dict[str, Check | None] = {}
    if path.is_file():
        checks = {path.name: partial(Trace.from_json, path)}
    elif (path / NAME).is_file() or (path / MODEL).is_file():
        checks = _checks(path)
    else:
        raise CreditlineError(
            f"{path} holds nothing of Creditline: it has no {NAME}. Give a folder that --out of a "
            "command named, or a trace that --json wrote."
        )
    folder = path.parent if path.is_file() else path
    states = []
    with (runtime or Runtime()).progress("verify", len(checks), "file") as bar:
        for name in sorted(checks):
            states.append(_state(folder, name, checks[name]))
            bar.advance()
    return Verification(path, tuple(states))


def _state(folder: Path, name: str, check: Check | None) -> FileState:
    size = (folder / name).stat().st_size if (folder / name).is_file() else 0
    if check is None:
        return FileState(name, size, "unchecked")
    try:
        check()
    except CreditlineError as error:
        return FileState(name, size, "damaged", str(error))
    return FileState(name, size, "intact")


def _checks(root: Path) -> dict[str, Check | None]:
    """A check for every file in a folder and for every file that should be there."""
    checks: dict[str, Check | None] = {}
    for path in _files(root):
        checks[path.relative_to(root).as_posix()] = _check_by_format(root, path)
    for path, check in _records(root):
        name = path.relative_to(root).as_posix()
        checks[name] = check or checks.get(name, partial(_refuse_missing, path))
    return checks


def _files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        scrap = any(part.startswith(ASIDE) or part.endswith(PART) for part in parts)
        if path.is_file() and not scrap:
            yield path


def _check_by_format(root: Path, path: Path) -> Check | None:
    parts = path.relative_to(root).parts
    if TABLE in parts or any(part in NO_CHECKSUM for part in parts):
        return None  # files of the version that counts are recorded
    if path.name == UNITS:
        return partial(_check_factors, path.parent)
    if path.name == NAME:
        return partial(Manifest.read_any, path.parent, clearing=True)
    checks: dict[str, Callable[..., object]] = {
        ".json": partial(read_json, schema=_schema(path)),
        ".safetensors": check_tensors,
        ".npy": check_array,
        ".png": _check_image,
    }
    check = checks.get(path.suffix)
    return None if check is None else partial(check, path, ADVICE)


def _records(root: Path) -> Iterator[tuple[Path, Check | None]]:
    """Files that others record, with their check; None where they only have to be there."""
    for path in _files(root):
        if path.name not in (MODEL, RECALL, TABLES, DESCRIPTION, NAME):
            continue
        try:
            if path.name == NAME:
                yield from _required(path.parent, Manifest.read_any(path.parent, clearing=True))
                continue
            values = read_json(path, ADVICE, _schema(path))
        except CreditlineError:
            continue  # its own check says so
        records = values.get("files", values)
        for name in (key for key, value in records.items() if isinstance(value, dict)):
            yield path.parent / name, partial(_compare, path.parent / name, records[name])


def _schema(path: Path) -> JsonSchema:
    """What a JSON file may hold, by its name."""
    if path.name.startswith("table-"):
        return TABLE_RECORD
    return SCHEMAS.get(path.name, OBJECT)


def _required(folder: Path, manifest: Manifest) -> Iterator[tuple[Path, Check | None]]:
    """Files that a manifest needs, directly or by what it names."""
    kind, facts, request = manifest.kind, manifest.facts, manifest.request
    if manifest.status != "complete":
        return
    # A manifest may lie about their number, and a hundred that are missing say enough.
    some = sum(1 for _ in folder.glob("*.png")) + 100
    names = {
        "ground-truth": ["masks.npy", "losses.npy", TABLES],
        "images": [f"{i:05d}.png" for i in range(min(request.get("n", 0), some))],
        "run": [f"model/{MODEL}"],
        "counterfactual": [RESULT],
        "index": [PROJECTION] if facts.get("projection") is not None else [],
    }[kind]
    yield from ((folder / name, None) for name in names)
    if kind == "index":
        path = folder / f"table-{facts['table_version']}.json"
        check = partial(read_json, path, ADVICE, TABLE_RECORD, facts["table_checksum"])
        yield path, check
        for name, record in check()["files"].items():
            yield folder / TABLE / name, partial(_compare, folder / TABLE / name, record)


def _compare(path: Path, record: dict[str, Any]) -> None:
    """Check a file in full, whatever this process has checked before."""
    try:
        if FileRecord.of(path).to_json() != record:
            raise damaged(path, ADVICE)
    except OSError as error:
        raise unreadable(path, error, ADVICE) from error


def _refuse_missing(path: Path) -> None:
    raise unreadable(path, FileNotFoundError(), ADVICE)


def _check_factors(folder: Path) -> None:
    models, n, dim = read_json(folder / DESCRIPTION, ADVICE, BLOCKS)["shape"]
    blocks = FactorBlocks(folder, (models, n, dim))
    units = np.memmap(folder / UNITS, np.float32, "r", shape=(models * n, dim))
    blocks.check(units, 0, len(units))


def _check_image(path: Path, advice: str) -> None:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
        if not is_intact_png(path):
            raise ValueError("it is not complete, or its pixels do not have their checksum")
    except (OSError, ValueError, SyntaxError) as error:
        raise damaged(path, advice, str(error)) from error
