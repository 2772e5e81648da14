"""Results of a benchmark as files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditline.benchmarks.groups import MethodGroup
from creditline.files import write_file
from creditline.fingerprint import of_json


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
    text = json.dumps(values, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, lambda p: p.write_text(text, "utf-8"))
