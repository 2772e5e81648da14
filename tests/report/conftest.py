"""Small synthetic traces with real images."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from creditline.credit.totals import tally
from creditline.records import Hit, MethodCard, QueryTrace
from creditline.trace import Trace

CAUSAL = MethodCard("d-trak", "D-TRAK", "Zheng et al., ICLR 2024", "τ = φᵀ (ΦᵀΦ + λI)⁻¹ φ", True)
SIMILARITY = MethodCard("pixel-cosine", "Pixels, cosine", "none", "cos(q, i)", False)
ARTISTS = ("Ada", "Ben", "Cleo", None)


def _png(rng: np.random.Generator, width: int = 16, height: int = 16) -> bytes:
    file = BytesIO()
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _make_trace(
    queries: int = 2,
    top: int = 3,
    n: int = 40,
    causal: bool = True,
    contributors: tuple[str | None, ...] = ARTISTS,
    names: tuple[str, ...] = ("train/{:03d}.png",),
    texts: tuple[str | None, ...] = (None,),
    side: int = 16,
    columns: tuple[dict[str, str | None], ...] = ({},),
) -> Trace:
    """Random scores over `n` random images; contributors, names, texts, columns repeat in turn."""
    rng = np.random.default_rng(7)
    whose = [contributors[i % len(contributors)] for i in range(n)]
    kinds = [("round", "square")[i % 2] for i in range(n)]
    images = [_png(rng, side, side) for _ in range(n)]

    def hit(scores: np.ndarray, row: int, rank: int) -> Hit:
        return Hit(
            row=row,
            id=f"{row:032x}",
            name=names[row % len(names)].format(row),
            contributor=whose[row],
            text=texts[row % len(texts)],
            label=kinds[row],
            score=float(scores[row]),
            rank=rank,
            z=float((scores[row] - scores.mean()) / scores.std()),
            image=images[row],
            columns=columns[row % len(columns)],
        )

    def query(i: int) -> QueryTrace:
        scores = rng.normal(0.002, 0.01, n)
        order = [int(row) for row in np.argsort(-scores)]
        return QueryTrace(
            id=f"{i:032x}",
            name=names[i % len(names)].format(i),
            text=texts[i % len(texts)],
            image=_png(rng, side, side),
            proponents=tuple(hit(scores, row, j + 1) for j, row in enumerate(order[:top])),
            opponents=tuple(hit(scores, row, j + 1) for j, row in enumerate(order[::-1][:top])),
            totals={
                "contributor": tally(scores, whose, order[:top]),
                "label": tally(scores, kinds, order[:top]),
            },
            mean=float(scores.mean()),
            std=float(scores.std()),
            n_positive=int((scores > 0).sum()),
            details={"seed": i, "steps": 50},
        )

    return Trace(
        method=CAUSAL if causal else SIMILARITY,
        settings={"data": {"size": side}, "features": {"plan": {"timesteps": 10}, "dim": None}},
        n_train=n,
        queries=tuple(query(i) for i in range(queries)),
        created="2025-01-02T03:04:05+00:00",
        version="0.1.0",
    )


@pytest.fixture
def make_trace():
    """The function that makes one; see its arguments above."""
    return _make_trace


@pytest.fixture
def png():
    """The function that makes a PNG of random pixels: (rng, width, height) -> bytes."""
    return _png
