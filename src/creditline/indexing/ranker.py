"""Rankings that a person can read, from rows of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
from PIL import Image

from creditline.credit.totals import tally
from creditline.indexing.metadata_columns import read_columns
from creditline.indexing.queries import Queries
from creditline.indexing.store import Store
from creditline.indexing.thumbnail import png
from creditline.methods.score_noise import FLAT, ScoreNoise
from creditline.methods.score_transform import ScoreTransform
from creditline.records import NOISE_FLOOR, Hit, QueryTrace, Region
from creditline.records.hit import LONGEST_VALUE, MOST_COLUMNS

QUERY_SIDE = 512


class Ranker:
    """Turns scores into `QueryTrace`s, reading the facts of training images once.

    Args:
        store: the index's table.
        self_influence: score of each training image for itself, shape `(n,)`, where known.
        causal: whether the sign of a score has a meaning: then only images with positive scores
            are proponents and only images with negative scores opponents.
        transform: of the scores that totals are made of.
    """

    def __init__(
        self,
        store: Store,
        self_influence: np.ndarray | None,
        causal: bool = True,
        transform: ScoreTransform | None = None,
    ) -> None:
        self.transform = transform or ScoreTransform()
        self.store = store
        self.causal = causal
        self.facts = store.facts()
        self.self_influence = self_influence
        labels = self.facts["label"]
        self.groups: dict[str, list] = {"contributor": self.facts["contributor"]}
        if any(label is not None for label in labels):
            self.groups["label"] = [None if x is None else str(x) for x in labels]

    def rank(
        self,
        scores: np.ndarray,
        noise: ScoreNoise | None,
        top: int,
        queries: Queries,
        position: int,
        suffix: str = "",
    ) -> QueryTrace:
        """The two ends of one query's ranking.

        Args:
            scores: of every training image, shape `(n,)`.
            noise: of these scores, where known.
            top: hits at each end, at most.
            queries: all queries.
            position: of this one.
            suffix: appended to its name, such as a timestep.
        """
        order = strongest(scores, top)
        reverse = strongest(-scores, top)
        if self.causal:
            order, reverse = order[scores[order] > 0], reverse[scores[reverse] < 0]
        mean, std = float(scores.mean()), float(scores.std())
        images = queries.images
        error = None if noise is None else noise.error[0]
        return QueryTrace(
            id=images.ids[position],
            name=images.names[position] + suffix,
            text=images.texts[position],
            image=png(images.image(position), QUERY_SIDE),
            proponents=self._hits(order, scores, error, mean, std),
            opponents=self._hits(reverse, scores, error, mean, std),
            totals={
                column: tally(scores, groups, order.tolist(), self.transform, noise)
                for column, groups in self.groups.items()
            },
            mean=mean,
            std=std,
            n_positive=int((scores > 0).sum()),
            error=None if error is None else float(np.sqrt((error**2).mean())),
            n_above_noise=None if error is None else int((scores > NOISE_FLOOR * error).sum()),
            reliability=None if noise is None else float(noise.reliability(scores[None])[0]),
            details=queries.details[position],
            region=_region(queries, position),
        )

    def _hits(
        self,
        rows: Sequence[int] | np.ndarray,
        scores: np.ndarray,
        error: np.ndarray | None,
        mean: float,
        std: float,
    ) -> tuple[Hit, ...]:
        facts, rows = self.facts, [int(row) for row in rows]
        thumbnails = self.store.thumbnails(rows)
        return tuple(
            Hit(
                row=row,
                id=facts["id"][row],
                name=facts["name"][row],
                contributor=facts["contributor"][row],
                text=facts["text"][row],
                label=None if facts["label"][row] is None else str(facts["label"][row]),
                score=float(scores[row]),
                rank=rank,
                z=(float(scores[row]) - mean) / std if std > FLAT * abs(mean) else 0.0,
                image=thumbnail,
                self_influence=(
                    None if self.self_influence is None else float(self.self_influence[row])
                ),
                error=None if error is None else float(error[row]),
                columns=limit_columns(read_columns(facts["columns"][row], self.store.version.path)),
            )
            for rank, (row, thumbnail) in enumerate(zip(rows, thumbnails, strict=True), start=1)
        )


def _region(queries: Queries, position: int) -> Region | None:
    masks = queries.images.masks
    mask = None if masks is None else masks[position]
    if mask is None:
        return None
    gray = Image.fromarray(np.rint(mask.weights * 255).astype(np.uint8))
    return Region(mask.id, mask.share, png(gray, QUERY_SIDE))


def limit_columns(columns: Mapping[str, str | None]) -> dict[str, str | None]:
    """The first `MOST_COLUMNS`, with names and values of at most `LONGEST_VALUE` characters."""
    return {
        _cut(name): None if value is None else _cut(value)
        for name, value in islice(columns.items(), MOST_COLUMNS)
    }


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def strongest(scores: np.ndarray, top: int) -> np.ndarray:
    """Positions of the `top` largest scores, largest first; ties by position.

    Args:
        scores: shape `(n,)`.
        top: at most `n` are returned.
    """
    top = min(top, len(scores))
    if top < len(scores):
        threshold = np.partition(scores, len(scores) - top)[len(scores) - top]
        candidates = np.flatnonzero(scores >= threshold)
    else:
        candidates = np.arange(len(scores))
    return candidates[np.lexsort((candidates, -scores[candidates]))][:top]


def strongest_of_each(scores: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of the `top` largest scores of each row, shape `(m, top)` both."""
    rows = np.stack([strongest(row, top) for row in scores])
    return rows, np.take_along_axis(scores, rows, axis=1)
