"""Approximate search: candidates by small codes in a Lance index, which are scored exactly.

It may miss images. The share of the exact top that it returns is measured when the search is built,
on training images taken as queries, and kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from creditline.checksum import FileRecord, records_from_json, records_to_json
from creditline.errors import DamageError
from creditline.files import make_folder
from creditline.indexing.rescoring import rescore
from creditline.indexing.vector_codes import VectorCodes
from creditline.json_schema import FILES, JsonSchema, obj
from creditline.leftovers import discard
from creditline.notice import notice
from creditline.owner import aside_prefix
from creditline.settings import require
from creditline.stored_json import read_json, write_json

FEWEST = 1024
"""Rows below which codes cannot be learned, and an exact search takes no time."""
SAMPLE, TOP = 64, 20
"""Training images, and hits of each, on which recall is measured."""
BLOCK = 16
"""Queries of which all scores are held at once, while recall is measured."""
RECALL = "recall.json"
"""Recall, and the checksums of the other files."""
ADVICE = "It is built again from the stored factors."
SCHEMA = JsonSchema(obj({"files": FILES, "recall": {"type": "number", "minimum": 0, "maximum": 1}}))


class Nearest:
    """An approximate search over stored rows.

    Args:
        folder: that `load_or_build` wrote.
        codes: that it searches, and what they stand for.

    Attributes:
        recall: measured share of the exact top 20, for training images as queries.

    Raises:
        DamageError: if a file is missing or damaged.
    """

    def __init__(self, folder: Path, codes: VectorCodes) -> None:
        self.codes = codes
        values = read_json(folder / RECALL, ADVICE, SCHEMA)
        for name, record in records_from_json(values["files"]).items():
            record.check(folder / name, ADVICE)
        self.recall: float = values["recall"]
        codes.open(folder)

    def query_factors(self, queries: np.ndarray) -> np.ndarray:
        """Query-side factors `(m, C, k)` of features of queries, `(m, C, k)`."""
        return self.codes.query_factors(queries)

    def top(self, factors: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """As `FactorCache.top`, among the candidates."""
        candidates = self.codes.candidates(factors, top)
        return rescore(self.codes.scores_of, factors, candidates, top)


def require_rows(n: int) -> None:
    """Refuse an approximate search among few rows.

    Raises:
        SettingsError: if there are too few.
    """
    require(
        n >= FEWEST,
        f"Approximate search needs at least {FEWEST:,} images",
        n,
        "Search exactly, which takes no time here.",
    )


def load_or_build(folder: Path, codes: VectorCodes, sample: Callable[[], np.ndarray]) -> Nearest:
    """An approximate search, from `folder` if it is there.

    Args:
        folder: of this search alone.
        codes: to search.
        sample: returns features of some queries, `(b, C, k)`, on which to measure recall.
    """
    if folder.is_dir():
        try:
            return Nearest(folder, codes)
        except DamageError as error:
            notice(str(error))
            discard(folder)
    make_folder(folder.parent)
    # Of this process alone: others may build it at the same time.
    with tempfile.TemporaryDirectory(prefix=aside_prefix(), dir=folder.parent) as aside:
        part = Path(aside) / folder.name
        _write(part, codes, sample())
        with suppress(OSError):  # another process was as fast
            part.rename(folder)
    return Nearest(folder, codes)


def _write(part: Path, codes: VectorCodes, queries: np.ndarray) -> None:
    """Build the search, and measure its recall with some queries."""
    make_folder(part)
    codes.build(part)
    codes.open(part)
    hits: list[float] = []
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        factors = codes.query_factors(block)
        rows, _ = rescore(codes.scores_of, factors, codes.candidates(factors, TOP), TOP)
        pairs = zip(codes.exact(block, TOP), rows, strict=True)
        hits += [float(np.isin(a, b).mean()) for a, b in pairs]
    files = {p.relative_to(part).as_posix(): FileRecord.of(p) for p in _files(part)}
    values = {"recall": float(np.mean(hits)), "queries": len(queries), "top": TOP}
    write_json(part / RECALL, {**values, "files": records_to_json(files)})


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
