"""Writers and readers at once on one index: no change is lost, and no reader sees half of one.

Every round starts two to eight processes. A writer that finds another one at work repeats its
change until it is made. What the index holds in the end is what the changes add up to.
"""

from __future__ import annotations

import importlib
import json
import random
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tests.concurrency.forks import together

import creditline as cl
from creditline.data.image_set import ImageSet
from creditline.errors import IndexMismatchError, LockedError

N, BASE = 40, 12
"""Images, and those of the first index."""
QUERY = 39
NAMES = [f"image {i:02d}" for i in range(N)]
SECONDS = 60
MODULES = (
    "lance",
    "torch",
    "creditline.api",
    "creditline.indexing.index",
    "creditline.verification",
)
"""What every process needs: imported once, and not used before it forks."""


def images_of(rows: list[int]) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (N, 4, 4, 3), np.uint8)
    return ImageSet.from_images(pixels[rows], names=[NAMES[i] for i in rows])


def build(folder: Path, rows: list[int], **settings: Any) -> cl.Index:
    method = settings.pop("method", "pixel-dot")
    return cl.index(None, images_of(rows), method=method, out=folder, shard_rows=5, **settings)


def products(names: list[str], center: bool) -> dict[str, float]:
    """Scores of the query for images, computed here."""
    pixels = images_of(list(range(N))).array().reshape(N, -1) / 127.5 - 1
    rows = [NAMES.index(name) for name in names]
    mean = pixels[rows].mean(0) if center else 0.0
    features, query = pixels[rows] - mean, pixels[QUERY] - mean
    if center:
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    values = features @ query
    return dict(zip(names, values.tolist(), strict=True))


def check(index: cl.Index, folder: Path) -> str:
    """One state of the index: its images, their number and their scores belong together."""
    query = images_of([QUERY])
    names = index.store.facts()["name"]
    assert len(names) == index.n == len(set(names)), names
    expected = products(names, index.method.name == "pixel-centered")
    trace = index.trace(query, top=N)
    hits = {hit.name: hit.score for hit in (*trace[0].proponents, *trace[0].opponents)}
    assert trace.n_train == len(names)
    assert hits.keys() == expected.keys(), (sorted(hits), names)
    scale = max(map(abs, expected.values()))
    values = np.array(list(hits.values()))
    target = np.array([expected[name] for name in hits])
    ratio = (values @ target) / (target @ target)  # features have a scale of their own
    np.testing.assert_allclose(values / ratio, target, atol=2e-3 * scale)
    result = index.search(query, top=3)
    assert [names[row] for row in result.rows[0]] == [h.name for h in trace[0].proponents[:3]]
    return f"{len(names)} images"


def expect(error: Exception, *texts: str) -> None:
    assert any(text in str(error) for text in texts), error


def read(folder: Path) -> Counter[str]:
    """Open and trace again and again; a change meanwhile may be said, nothing else."""
    counts, end = Counter[str](), time.time() + 0.6
    while time.time() < end:
        try:
            check(cl.open_index(folder), folder)
            counts["read"] += 1
        except IndexMismatchError as error:
            expect(error, "was changed by another process since it was opened")
            counts["changed meanwhile"] += 1
        except cl.CreditlineError as error:
            expect(error, "is being replaced", "is not complete")
            counts["being replaced"] += 1
    return counts


def write(folder: Path, change: Callable[[cl.Index], object]) -> Counter[str]:
    """Make a change, as often as others are at work."""
    counts, end = Counter[str](), time.time() + SECONDS
    while time.time() < end:
        try:
            change(cl.open_index(folder))
            counts["written"] += 1
            return counts
        except LockedError as error:
            expect(error, "is being written by")
            counts["locked"] += 1
        except IndexMismatchError as error:
            expect(error, "was changed by another process since it was opened")
            counts["changed meanwhile"] += 1
        time.sleep(0.02)
    raise TimeoutError(counts)


def take_out(row: int, purge: bool, index: cl.Index) -> None:
    index.remove([NAMES[row]], purge=purge)


def put_in(row: int, index: cl.Index) -> None:
    index.add(images_of([row]))


def replace(folder: Path, rows: list[int]) -> Counter[str]:
    counts, end = Counter[str](), time.time() + SECONDS
    while time.time() < end:
        try:
            build(folder, rows, method="pixel-centered", overwrite=True)
            counts["written"] += 1
            return counts
        except LockedError:
            counts["locked"] += 1
        time.sleep(0.02)
    raise TimeoutError(counts)


def change_and_check(folder: Path, rng: random.Random) -> Counter[str]:
    """One round; what everybody saw."""
    start = list(range(BASE))
    removals = rng.sample(start, rng.randint(1, 3))
    additions = rng.sample(range(BASE, N - 1), rng.randint(1, 3))
    writers: list[Callable[[], Any]] = []
    expected = set(start)
    kind = rng.choice(("changes", "changes", "changes", "overwrite"))
    if kind == "overwrite":
        rows = sorted(rng.sample(range(N - 1), 9))
        writers = [partial(replace, folder, rows) for _ in range(rng.randint(1, 2))]
        expected = set(rows)
    else:
        for row in removals:
            purge = rng.random() < 0.4
            writers.append(partial(write, folder, partial(take_out, row, purge)))
            expected.discard(row)
        for row in additions:
            writers.append(partial(write, folder, partial(put_in, row)))
            expected.add(row)
    readers = [partial(read, folder) for _ in range(rng.randint(1, 2))]
    actions = [*writers, *readers][:8]
    assert len(actions) >= 2

    def prepare() -> None:
        build(folder, start)
        if rng.random() < 0.5:
            check(cl.open_index(folder), folder)

    def verify() -> tuple[list[str], list[str]]:
        index = cl.open_index(folder)
        check(index, folder)
        assert not cl.verify(folder).damaged
        # The next writer clears what is left.
        names = index.store.facts()["name"]
        index.remove([0])
        left = [x.name for x in folder.rglob("*") if x.name.startswith(".creditline-")]
        return names, left

    together([prepare])
    seen = Counter[str]()
    for counts in together(actions):
        seen.update(counts)
    ((names, left),) = together([verify])
    assert set(names) == {NAMES[row] for row in expected}
    assert not left
    return seen


def play(folder: Path, rounds: int, seed: int) -> Counter[str]:
    seen = Counter[str]()
    for number in range(rounds):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen += change_and_check(folder / str(number), random.Random(seed + number))
        shutil.rmtree(folder / str(number))
        print(number, dict(seen), file=sys.stderr, flush=True)
    return seen


def fit_at_once(folder: Path) -> None:
    """Processes that fit the same results at once get the same, and leave nothing behind."""

    def trace() -> list[float]:
        trace = cl.open_index(folder).trace(images_of([0]))
        return [hit.score for hit in trace[0].proponents]

    together([lambda: build(folder, list(range(BASE)), method="pixel-centered").n])
    results = together([trace] * 6)
    assert all(result == results[0] for result in results)
    parts = [x.name for x in folder.rglob("*") if x.suffix == ".part" or ".creditline" in x.name]
    assert not parts


if __name__ == "__main__":
    place, what, count, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    for module in MODULES:
        importlib.import_module(module)
    if what == "fit":
        fit_at_once(place)
    else:
        print(json.dumps(play(place, count, first)))
