"""What an exact and an approximate search of few-bit features cost, and what the second misses.

Synthetic features stand in for whitened gradients (`tools.synthetic.Whitened`). They are drawn once
and stay in --folder. Both searches run in one process, in interleaved rounds, after one that does
not count; queries are no training images. CPU time is of all threads.

    python -m tools.bench_codes --rows 20000 --seed 1 --share 0.012
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from tools.clock import cost, rounds
from tools.synthetic import Whitened
from tools.synthetic_index import synthetic_index, synthetic_queries

from creditline.features.few_bits import FewBitCode
from creditline.gradients.projection import Projection
from creditline.indexing.index import Index
from creditline.indexing.queries import QueryFeatures
from creditline.methods import get

METHODS = ("ekfac", "combined")
TOP, SHARD = 20, 512


def main() -> None:
    """Build the index where it is not yet, search it both ways, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-codes"))
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=65_536)
    parser.add_argument("--seed", type=int, default=0, help="of the features")
    parser.add_argument("--share", type=float, default=0.019, help="of the first direction")
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    args = parser.parse_args()
    source = Whitened(args.dim, min(4096, args.dim), args.share, args.seed)
    products(args.dim)
    name = f"{args.rows}-{args.dim}-{args.share}-{args.seed}"
    method = replace(
        get("combined")(),
        features=replace(
            get("combined")().features, projection=Projection("count-sketch", args.dim)
        ),
        square_norm_bits=source.bits[-1],
    )
    with cost("build, drawing the features included"):
        index = synthetic_index(args.folder / name, args.rows, source, None, method, SHARD)
    print(f"  {size(index.path):.3f} GB on disk")
    for each in args.methods:
        search(index.using(each), source, args)
    print(f"  {size(index.path):.3f} GB on disk, with what the searches keep")


def products(dim: int) -> None:
    """Time inner products with codes in memory: as they are, by levels in bytes, of signs alone."""
    rng, code, n = np.random.default_rng(0), FewBitCode(1), 1024
    codes = rng.integers(0, 256, (n, dim // 8), np.uint8)
    factor = np.ones(n)
    for m in (1, 16):
        query = rng.standard_normal((m, dim), np.float32)
        signs = np.packbits(query >= 0, axis=1).view(np.uint64)

        def coded(query: np.ndarray = query) -> None:
            code.products(codes, factor, query)

        def bytes_first(query: np.ndarray = query) -> None:
            for start in range(0, n, 4):
                query @ code._levels(codes[start : start + 4]).astype(np.float32).T

        def planes(signs: np.ndarray = signs) -> None:
            for start in range(0, n, 64):
                words = codes[start : start + 64].view(np.uint64)
                for one in signs:
                    np.bitwise_count(words ^ one).sum(1, dtype=np.uint32)

        each = [seconds / n * 1e6 for seconds in rounds(5, coded, bytes_first, planes)]
        print(
            f"products of {m} queries with a row of {dim // 8:,} bytes, us of CPU: {each[0]:.1f}, "
            f"levels in bytes first {each[1]:.1f}, signs of the queries alone {each[2]:.1f}"
        )


def search(index: Index, source: Whitened, args: argparse.Namespace) -> None:
    """Search by one method, exactly and approximately."""
    print(index.method.title)
    with cost("  the approximate search is built, and its recall measured"):
        index._engine.state.fits.nearest(index._engine.fit(stored_factors=True))
    for m in args.queries:
        part = queries(index, source, m)
        exact, approximate = rounds(
            args.rounds,
            lambda part=part: index.search(part, top=TOP),
            lambda part=part: index.search(part, top=TOP, approximate=True),
        )
        print(
            f"  top {TOP} of {m} queries, s of CPU: exact {exact:.2f}, approximate "
            f"{approximate:.3f}, ratio {exact / approximate:.1f}"
        )
    every = queries(index, source, max(args.queries))
    exactly = index.search(every, top=TOP)
    result = index.search(every, top=TOP, approximate=True)
    common = [np.isin(a, b) for a, b in zip(result.rows, exactly.rows, strict=True)]
    pairs = [
        (float(result.scores[i, j]), float(exactly.scores[i, list(row).index(result.rows[i, j])]))
        for i, row in enumerate(exactly.rows.tolist())
        for j in np.flatnonzero(common[i])
    ]
    error = max(abs(a / b - 1) for a, b in pairs)
    print(
        f"  recall {result.recall(exactly):.3f} of new queries; measured when it was built "
        f"{result.expected_recall:.3f}; scores off by at most {error:.1e}"
    )


def queries(index: Index, source: Whitened, m: int) -> QueryFeatures:
    """Queries to a method that may use the first feature set alone."""
    every = synthetic_queries(index, source, m)
    dim = source.sizes[0] if index.method.name == "ekfac" else source.dim
    return replace(every, values=every.values[..., :dim])


def size(folder: Path) -> float:
    """GB of all files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e9


if __name__ == "__main__":
    main()
