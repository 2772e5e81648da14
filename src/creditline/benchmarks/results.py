"""Results of a benchmark as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditline.benchmarks.groups import MethodGroup
from creditline.fingerprint import of_json
from creditline.stored_json import OBJECT, read_json, write_json


@dataclass(frozen=True)
class BenchmarkResult:
    """Methods on one index, judged.

    Attributes:
        timesteps: timesteps per training image; None where the index does not depend on them.
        models: number of indexed models that are trained on everything.
        seconds: CPU seconds of extraction per training image; None without gradients.
        comparison: as `Comparison.to_dict`; its groups are validation and generated queries. Under
            `"shares"`, where there is a ground truth of unequal shares, the comparison with it.
            Of each method, `"uses_index"` says whether scores depend on the index.
    """

    timesteps: int | None
    models: int
    seconds: float | None
    comparison: dict[str, Any]


def result_path(folder: Path, group: MethodGroup, request: dict[str, Any]) -> Path:
    """Locate the file of a group's result, which another request does not share."""
    return folder / f"{group.key}-{of_json(request)[:12]}.json"


def write_result(path: Path, values: dict[str, Any]) -> None:
    """Write a result as JSON."""
    write_json(path, values, overwrite=False, indent=1)


def read_result(path: Path) -> dict[str, Any]:
    """Read what `write_result` wrote.

    Raises:
        DamageError: if the file is damaged.
    """
    return read_json(
        path, "Delete it and run the same command again: it is computed again.", OBJECT
    )
