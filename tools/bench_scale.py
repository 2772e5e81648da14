"""What solving, searching and changing a large index cost (`make bench-scale`).

Synthetic features stand in for gradients: groups of like rows around a common direction, with
lengths that differ. Every stage is a process of its own, so that its peak of resident memory is its
own, and leaves its files in --folder: run again with other --stages, or after an interruption, it
goes on from there. CPU time is of all threads; compared figures are medians of interleaved rounds.

    solver     fit and preconditioning of the index against the two products they cannot do without
    bandwidth  exact top-20 of one query against numpy's sum over as many bytes in memory
    query      tracing an image, compared with its gradient alone
    workers    an index made by one process and by two: on the clock and as CPU time of all of them
    build, fit, rows, exact, approximate, add, remove    the large index, from nothing to changed
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tools.clock import cost, rounds
from tools.synthetic import ImageFiles, Synthetic
from tools.synthetic_index import synthetic_index, synthetic_queries

import creditline as cl
from creditline.curvature.spectrum import Spectrum
from creditline.data.image_set import ImageSet
from creditline.features.table import ArrayFeatures
from creditline.indexing import change
from creditline.indexing.factor_cache import load_or_write
from creditline.indexing.index import Index
from creditline.methods import FitContext
from creditline.methods.gradient_dot import GradientDot
from creditline.runtime import Runtime

STAGES = ("solver", "bandwidth", "query", "workers")
LARGE = ("build", "fit", "rows", "exact", "approximate", "add", "remove")
SHARD = 8192
QUERIES, TOP = 16, 20


def main() -> None:
    """Run the stages and print what each of them cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-scale"))
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large index")
    parser.add_argument("--dim", type=int, default=2048, help="of the large index")
    parser.add_argument("--solver", type=int, nargs=2, default=[50_000, 4096], metavar=("N", "K"))
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of the bandwidth stage")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1024, help="of the workers stage")
    parser.add_argument("--stages", nargs="+", choices=STAGES + LARGE, default=STAGES + LARGE)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        STAGE[args.stages[0]](args)
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    for stage in args.stages:
        options = sys.argv[1:]
        if "--stages" in options:
            at = options.index("--stages")
            options = options[:at] + options[at + 1 + len(args.stages) :]
        subprocess.run(
            [sys.executable, "-m", "tools.bench_scale", *options, "--stages", stage, "--here"],
            check=True,
        )


def solver(args: argparse.Namespace) -> None:
    n, k = args.solver
    index = synthetic_index(args.folder / "solver", n, Synthetic(k))
    table, a, w = index.table, index.features(), np.random.default_rng(0).standard_normal((k, k))

    def products() -> None:
        a.T @ a
        a @ w

    def ours() -> None:
        spectrum = Spectrum.fit(table, 0, True)
        for _ in spectrum.preconditioned(table, 0, 3 * float(spectrum.eigenvalues.mean())):
            pass

    def decomposition() -> None:
        kernel = w @ w.T
        start = time.process_time()
        Spectrum.from_kernel(kernel, np.zeros(k), "primal")
        eigen.append(time.process_time() - start)

    eigen: list[float] = []
    two, all_of_it, _ = rounds(args.rounds, products, ours, decomposition, warm=False)
    once = statistics.median(eigen)
    print(
        f"solver: n = {n:,}, k = {k:,}: fit and preconditioning {all_of_it:.1f} s of CPU, of which "
        f"the eigendecomposition {once:.1f} s; the two products {two:.1f} s; ratio "
        f"{all_of_it / two:.2f} with it, {(all_of_it - once) / two:.2f} without"
    )


def bandwidth(args: argparse.Namespace) -> None:
    n = int(args.gigabytes * 1e9 / 4 / args.dim)
    array = np.concatenate(
        [Synthetic(args.dim).rows(i, min(SHARD, n - i)) for i in range(0, n, SHARD)]
    )
    method = GradientDot().fit(FitContext(features=ArrayFeatures(array)))
    folder = args.folder / f"bandwidth-{n}-{args.dim}"
    rows = load_or_write(folder, method)
    sides = method.weighted_query_factors(array[:QUERIES].astype(np.float64))

    def numpy() -> None:
        array.sum()

    def one() -> None:
        rows.top(sides[:1], TOP)

    def several() -> None:
        rows.top(sides, TOP)

    reference, single, batch = rounds(max(5, args.rounds), numpy, one, several)
    size = array.nbytes / 1e9
    print(
        f"bandwidth: numpy sum in memory {size / reference:.1f} GB/s of CPU time; top-{TOP} of one "
        f"query {size / single:.1f} GB/s ({reference / single:.0%}); of {QUERIES} queries in one "
        f"pass {batch / single:.1f} times one"
    )


def query(args: argparse.Namespace) -> None:
    denoiser = _small_network()
    n, k = 5000, 2048
    index = synthetic_index(args.folder / "query", n, Synthetic(k, halves=True), denoiser)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    query = ImageSet.from_images(pixels)
    index.trace(query)  # fits, and stores the factors
    gradient, trace = rounds(
        max(5, args.rounds), lambda: index.extract(query), lambda: index.trace(query)
    )
    print(
        f"query: UNet of 16 px, about 1 M parameters, n = {n:,}, k = {k:,}: gradient "
        f"{gradient:.2f} s of CPU, trace with errors {trace:.2f} s, ratio {trace / gradient:.2f}"
    )


def workers(args: argparse.Namespace) -> None:
    if args.processes is not None:
        _extraction(args.folder / "workers", args.images, args.processes)
        return
    wall, cpu = {}, {}
    for count in (1, 2):
        start = time.perf_counter()
        # Its own process, so that the CPU time of all of them is known when it has ended.
        child = subprocess.Popen(
            [sys.executable, "-m", "tools.bench_scale", *sys.argv[1:], "--processes", str(count)]
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, child.args)
        wall[count], cpu[count] = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    print(
        f"workers: {args.images:,} images of 16 px, T = 10: {wall[1]:.1f} s by one process, "
        f"{wall[2]:.1f} s by two, ratio {wall[2] / wall[1]:.2f}; CPU time {cpu[1]:.1f} s and "
        f"{cpu[2]:.1f} s, ratio {cpu[2] / cpu[1]:.2f}; start of the program included"
    )


def _extraction(folder: Path, n: int, processes: int) -> None:
    """Build a complete index of random images and weights."""
    shutil.rmtree(folder, ignore_errors=True)
    pixels = np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), np.uint8)
    cl.index(
        _small_network(),
        ImageSet.from_images(pixels),
        out=folder,
        runtime=cl.Runtime(workers=processes),
    )
    shutil.rmtree(folder)


def build_large(args: argparse.Namespace) -> None:
    with cost(f"build: {args.rows:,} rows x {args.dim:,}"):
        index = synthetic_index(args.folder / "large", args.rows, Synthetic(args.dim))
    print(f"  {_bytes(index.path) / 1e9:.2f} GB on disk")


def fit(args: argparse.Namespace) -> None:
    index = _opened(args)
    with cost("fit"):
        index._engine.fit()


def rows(args: argparse.Namespace) -> None:
    index = _opened(args)
    with cost("preconditioned features"):
        index._state.fits.factors(index._engine.fit())


def exact(args: argparse.Namespace) -> None:
    index = _opened(args)
    index._state.fits.factors(index._engine.fit())
    with cost(f"exact top-{TOP} of {QUERIES} queries, opening included"):
        index.search(synthetic_queries(index, Synthetic(args.dim), QUERIES), top=TOP)
    with cost(f"exact top-{TOP} of 1 query"):
        index.search(synthetic_queries(index, Synthetic(args.dim), 1), top=TOP)


def approximate(args: argparse.Namespace) -> None:
    index = _opened(args)
    with cost("approximate index"):
        index._state.fits.nearest(index._engine.fit())
    queries = synthetic_queries(index, Synthetic(args.dim), QUERIES)
    exactly = index.search(queries, top=TOP)
    with cost(f"approximate top-{TOP} of {QUERIES} queries"):
        result = index.search(queries, top=TOP, approximate=True)
    print(
        f"  recall {result.recall(exactly):.3f} of new queries; measured when it was built "
        f"{result.expected_recall:.3f}"
    )


def add(args: argparse.Namespace) -> None:
    count, start = args.rows // 100, args.rows
    index = _opened(args)
    with cost(f"add {count:,} rows"):
        change.add(index._state, Synthetic(args.dim), ImageFiles(start, start + count), Runtime())
    print(f"  now {_opened(args).n:,} rows")


def remove(args: argparse.Namespace) -> None:
    index = _opened(args)
    gone = np.random.default_rng(1).choice(index.n, args.rows // 100, replace=False)
    with cost(f"remove {len(gone):,} rows"):
        change.remove(index._state, gone)
    print(f"  now {_opened(args).n:,} rows")


STAGE: dict[str, Callable[[argparse.Namespace], None]] = {
    "solver": solver,
    "bandwidth": bandwidth,
    "query": query,
    "workers": workers,
    "build": build_large,
    "fit": fit,
    "rows": rows,
    "exact": exact,
    "approximate": approximate,
    "add": add,
    "remove": remove,
}


def _small_network() -> Any:
    """A UNet on pixels with random weights, in one thread."""
    import torch
    from diffusers import DDPMScheduler

    from creditline.diffusion.config import UNetConfig
    from creditline.diffusion.families.pixel import UNetDenoiser
    from creditline.diffusion.process import DiscreteProcess

    torch.set_num_threads(1)
    torch.manual_seed(0)
    unet = UNetConfig(16, (24, 48, 72), (2,)).build()
    return UNetDenoiser(unet, DiscreteProcess.from_scheduler(DDPMScheduler()))


def _opened(args: argparse.Namespace) -> Index:
    return Index(args.folder / "large")


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
