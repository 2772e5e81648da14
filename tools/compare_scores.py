"""Check that scores have not changed: save those of every method, compare to the last bit.

    python -m tools.compare_scores save icons OUT
    python -m tools.compare_scores save cifar2-small OUT --data ZIP
    python -m tools.compare_scores compare OLD/scores.npz NEW/scores.npz --rename old-name=new-name

`save` takes a shipped benchmark at 10 timesteps and every registered method that can be used on it
without further models. Of each it keeps the scores of validation and generated queries; of the
methods that name an index, noise and shares, too. `compare` prints a line for each array, and exits
with 1 if one differs or is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

import creditline as cl
from creditline import methods
from creditline.benchmarks import get
from creditline.benchmarks.build import BATCH, STEPS
from creditline.benchmarks.groups import judgeable_methods, method_groups
from creditline.benchmarks.shipped_benchmark import ShippedBenchmark, find
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.generation import GenerateConfig, generate
from creditline.diffusion.load import load_model
from creditline.indexing.index import Index
from creditline.methods.fit_context import FitContext
from creditline.methods.subset_losses import SubsetLosses

TIMESTEPS = 10
Arrays = Iterator[tuple[str, np.ndarray]]


def encode(images: Sequence[Any]) -> np.ndarray:
    """Embed images as their pixels at 8 x 8, in place of an encoder."""
    small = [np.asarray(image.convert("RGB").resize((8, 8))).reshape(-1) for image in images]
    return np.stack(small).astype(np.float32) / 127.5 - 1


def save(name: str, out: Path, data: str | None) -> None:
    """Write the scores of every method as `scores.npz`."""
    case = find(get(name))
    train, validation = case.images(data)
    queries = {"validation": validation, "generated": load_images(case.generated)}
    arrays: dict[str, np.ndarray] = {}
    for key, values in chain(
        _gradient_scores(case, train, queries, out),
        _similarity_scores(train, queries, out),
        _subset_scores(case),
    ):
        print(key, values.shape, flush=True)
        arrays[key] = values
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "scores.npz", **arrays)
    print(f"{out / 'scores.npz'}: {len(arrays)} arrays")


def compare(old: Path, new: Path, renames: Sequence[str]) -> bool:
    """Print how two files compare; whether they are equal."""
    pairs = [rename.split("=", 1) for rename in renames]
    equal = True
    with np.load(old) as a, np.load(new) as b:
        before, new_arrays = {_renamed(key, pairs): a[key] for key in a}, dict(b)
        for key in sorted({*before, *new_arrays}):
            verdict = _verdict(before.get(key), new_arrays.get(key))
            equal &= verdict == "equal"
            print(f"{key:60} {verdict}")
    print("all equal" if equal else "DIFFERENT")
    return equal


def _renamed(key: str, pairs: Sequence[Sequence[str]]) -> str:
    for old, new in pairs:
        key = key.replace(old, new)
    return key


def _verdict(old: np.ndarray | None, new: np.ndarray | None) -> str:
    if old is None or new is None:
        return f"NOT EQUAL: only in the {'new' if old is None else 'old'} file"
    if (old.shape, old.dtype) != (new.shape, new.dtype):
        return f"NOT EQUAL: {old.dtype} {old.shape} and {new.dtype} {new.shape}"
    if old.tobytes() == new.tobytes():
        return "equal"
    return f"NOT EQUAL: by up to {np.abs(old - new).max():.3g}, of up to {np.abs(old).max():.3g}"


def _gradient_scores(
    case: ShippedBenchmark, train: ImageSet, queries: dict[str, ImageSet], out: Path
) -> Arrays:
    for group in method_groups(judgeable_methods(), [TIMESTEPS]):
        if group.timesteps is None:
            continue
        label = group.index_method.name
        paths = case.checkpoints if group.checkpoints else [case.model]
        models = [load_model(str(path)) for path in paths]
        index = cl.index(models, train, method=group.index_method, out=out / f"index-{label}")
        for method in group.methods:
            yield from _index_scores(f"{label}/{method.name}", index.using(method), queries)
        if not group.checkpoints:
            yield from _noise_and_shares(label, index, queries)
        for method in group.trajectory_methods:
            config = GenerateConfig(steps=STEPS, trajectory=True)
            count = case.benchmark.generated
            runs = generate(case.model, count, out / "sampled", config, batch_size=BATCH)
            yield f"{label}/{method.name}/generated", index.using(method).scores(str(runs))


def _similarity_scores(train: ImageSet, queries: dict[str, ImageSet], out: Path) -> Arrays:
    for name, method in methods.classes().items():
        kind = method.capabilities.features
        if kind in ("pixels", "encoder"):
            encoder = encode if kind == "encoder" else None
            index = cl.index(None, train, method=name, out=out / f"index-{name}", encoder=encoder)
            yield from _index_scores(f"{name}/{name}", index, queries)


def _subset_scores(case: ShippedBenchmark) -> Arrays:
    truth = case.truth().complete_subsets()
    context = FitContext(subsets=SubsetLosses(truth.masks, truth.losses))
    for name, method in methods.classes().items():
        if method.capabilities.kind == "subset" and method.capabilities.held_out:
            attributor: Any = method().fit(context)
            yield f"retraining/{name}", attributor.scores_


def _index_scores(prefix: str, index: Index, queries: dict[str, ImageSet]) -> Arrays:
    for name, images in queries.items():
        yield f"{prefix}/{name}", index.scores(images)
    yield f"{prefix}/self", index.self_influence()


def _noise_and_shares(label: str, index: Index, queries: dict[str, ImageSet]) -> Arrays:
    yield f"{label}/noise", index.noise(index.extract(queries["validation"])).error
    trace = index.trace(queries["generated"], top=20)
    yield f"{label}/shares", trace.by("contributor")["share"].to_numpy(float)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 1 if scores differ."""
    parser = argparse.ArgumentParser(prog="python -m tools.compare_scores")
    commands = parser.add_subparsers(dest="command", required=True)
    saving = commands.add_parser("save", help="save the scores of every method")
    saving.add_argument("case", help="icons or cifar2-small")
    saving.add_argument("out", type=Path, help="folder for indexes and scores.npz")
    saving.add_argument("--data", help="the images, where the benchmark does not know them")
    comparing = commands.add_parser("compare", help="compare two files to the last bit")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    comparing.add_argument(
        "--rename", action="append", default=[], metavar="OLD=NEW", help="part of an old key"
    )
    options = parser.parse_args(arguments)
    if options.command == "save":
        save(options.case, options.out, options.data)
        return 0
    return 0 if compare(options.old, options.new, options.rename) else 1


if __name__ == "__main__":
    raise SystemExit(main())
