"""Files of one fit, in a folder that is named after everything that decides its result.

    FINGERPRINT/
      pass-0.safetensors       sums of a complete pass
      pass-1-sums.safetensors  sums of the first parts of a pass
      pass-1-07.safetensors    sums of one part
      curvature.safetensors    the result

Parts are added in order, whatever order they finish in. So an interrupted fit is bitwise
equal to an uninterrupted one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from creditline.errors import DamageError, IndexMismatchError, difference
from creditline.notice import notice
from creditline.stored_arrays import check_tensors, write_tensors

AGAIN = "It is computed again."
REQUEST, PARTS = "request", "parts"

Sums = dict[str, Tensor]
"""Sums of statistics by name."""


@dataclass(frozen=True)
class FitFiles:
    """The files of one fit.

    Attributes:
        folder: of the fit.
        request: everything that decides its result; every file repeats it.
    """

    folder: Path
    request: Mapping[str, Any]

    @property
    def result(self) -> Path:
        """File of the result."""
        return self.folder / "curvature.safetensors"

    def total(self, number: int) -> Path:
        """File of the sums of a pass."""
        return self.folder / f"pass-{number}.safetensors"

    def first_parts(self, number: int) -> Path:
        """File of the sums of the first parts of a pass."""
        return self.folder / f"pass-{number}-sums.safetensors"

    def part(self, number: int, part: int) -> Path:
        """File of the sums of one part."""
        return self.folder / f"pass-{number}-{part:02d}.safetensors"

    def is_intact(self, path: Path) -> bool:
        """Whether a file is there, and undamaged; see `read`."""
        return self._metadata(path) is not None

    def read(self, path: Path) -> Sums | None:
        """Read a file; None if it is missing, or damaged, with a notice.

        Raises:
            IndexMismatchError: if it belongs to another fit.
        """
        return self._read(path)[0]

    def read_first_parts(self, number: int) -> tuple[Sums, int]:
        """Read the sums of the first parts of a pass, and how many they are."""
        sums, parts = self._read(self.first_parts(number))
        return sums or {}, parts

    def write(self, path: Path, sums: Mapping[str, Tensor], parts: int = 0) -> None:
        """Write a file.

        Args:
            path: of the file.
            sums: what it holds.
            parts: number of parts that were added.
        """
        metadata = {REQUEST: json.dumps(self.request, sort_keys=True), PARTS: str(parts)}
        write_tensors(path, sums, save_file, metadata)

    def merge(self, number: int, part: int, sums: Sums) -> None:
        """Add a part to the sums of those before it, on disk and in place."""
        more = self.read(self.part(number, part))
        if more is None:
            raise DamageError(f"{self.part(number, part)} was damaged. Run the same command again.")
        add_sums(sums, more)
        self.write(self.first_parts(number), sums, part + 1)
        self.part(number, part).unlink()

    def clear(self) -> None:
        """Remove what only an unfinished fit needs."""
        for path in self.folder.glob("pass-*"):
            path.unlink()

    def _read(self, path: Path) -> tuple[Sums | None, int]:
        metadata = self._metadata(path)
        if metadata is None:
            return None, 0
        return load_file(path), int(metadata[PARTS])

    def _metadata(self, path: Path) -> Mapping[str, str] | None:
        """Check a file and return its metadata; None if it is missing or damaged."""
        if not path.exists():
            return None
        try:
            metadata = check_tensors(path, AGAIN)
            request, _ = json.loads(metadata[REQUEST]), int(metadata[PARTS])
        except (DamageError, KeyError, ValueError) as error:
            notice(str(error))
            return None
        if request != self.request:
            raise IndexMismatchError(
                f"{path} holds the curvature of another model or other images:\n"
                + "\n".join(difference(request, dict(self.request)))
                + "\nName another folder, or delete this one."
            )
        return metadata


def add_sums(sums: Sums, more: Mapping[str, Tensor]) -> None:
    """Add named tensors to sums, in place."""
    for name, value in more.items():
        sums[name] = sums[name].add_(value) if name in sums else value.clone()
