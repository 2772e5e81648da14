"""Removal sets: the training images that a counterfactual leaves out.

Rules for one query with scores `s`, where a positive score means that training on the image lowered
the query's loss:

- the name of a method: the k largest `s`, its proponents;
- `random`: k uniformly drawn images, the same for every method; a larger k adds images;
- `least`: the k smallest `|s|` of the first method, the images with the least influence;
- `nothing` and `other-seed`: no images; retrained with the same seed and with the next one.

Equal scores are ordered by row. For several targets together, the union of their sets is removed.
Unions differ in size between rules, and their size is reported. Targets share proponents, but
random sets would not overlap. Random removal therefore draws one set for all targets, of the median
size of the methods' unions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from creditline.errors import SettingsError
from creditline.fingerprint import key64, of_json
from creditline.records.removal import LEAST, NOTHING, OTHER_SEED, RANDOM
from creditline.settings import require

BASELINES = (NOTHING, OTHER_SEED, RANDOM, LEAST)


@dataclass(frozen=True)
class RemovalSet:
    """The training images that one retraining leaves out.

    Attributes:
        rule: rule that chose the images, such as `"d-trak"` or `"random"`.
        k: number of images per target.
        targets: positions of the targets that the images were chosen for.
        rows: positions of the images that are left out, ascending.
        seed: training seed.
    """

    rule: str
    k: int
    targets: tuple[int, ...]
    rows: tuple[int, ...]
    seed: int

    @property
    def key(self) -> str:
        """Name of the retraining; equal removals of different rules share one."""
        return of_json([self.targets, self.rows, self.seed])[:20]


def select_top(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the rows of the k largest scores, largest first."""
    return np.argsort(-scores, kind="stable")[:k]


def select_least(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the rows of the k scores nearest to zero, nearest first."""
    return np.argsort(np.abs(scores), kind="stable")[:k]


def select_random(n: int, k: int, seed: int, target: str) -> np.ndarray:
    """Draw k of n rows; a function of the seed and the target's id alone."""
    generator = np.random.Generator(np.random.Philox(key=key64("removal", seed, target)))
    return generator.permutation(n)[:k]


def plan_removals(
    scores: Mapping[str, np.ndarray],
    ids: Sequence[str],
    removals: Sequence[int],
    *,
    together: bool,
    training_seed: int,
    removal_seed: int = 0,
    baselines: Collection[str] = BASELINES,
) -> list[RemovalSet]:
    """Plan every retraining of a counterfactual, those without removal first.

    Args:
        scores: scores `(m, n)` by method.
        ids: content hashes of the m targets.
        removals: numbers of images per target, k.
        together: remove the union over all targets instead of each target's own images.
        training_seed: training seed of the explained model.
        removal_seed: seed of random removal.
        baselines: rules of `BASELINES` to compare with.

    Raises:
        SettingsError: if no training image would be left.
    """
    m, n = next(iter(scores.values())).shape
    everyone = tuple(range(m))
    sets = [
        RemovalSet(rule, 0, everyone, (), seed)
        for rule, seed in ((NOTHING, training_seed), (OTHER_SEED, training_seed + 1))
        if rule in baselines
    ]
    groups = [everyone] if together else [(q,) for q in everyone]
    first = next(iter(scores))
    for k in removals:
        require(0 < k < n, f"A removal leaves some of {n} images", k, "Remove fewer.")
        rows_of = {name: [select_top(row, k) for row in matrix] for name, matrix in scores.items()}
        if RANDOM in baselines:
            random_rows = [select_random(n, k, removal_seed, target) for target in ids]
            if together:
                unions = [len(_union(rows, everyone)) for rows in rows_of.values()]
                size = int(np.median(unions))
                random_rows = [select_random(n, size, removal_seed, " ".join(ids))] * m
            rows_of[RANDOM] = random_rows
        if LEAST in baselines:
            rows_of[LEAST] = [select_least(row, k) for row in scores[first]]
        for rule, rows in rows_of.items():
            for group in groups:
                union = _union(rows, group)
                if len(union) == n:
                    raise SettingsError(
                        f"The {k} images of each of {len(group)} targets by {rule!r} are all {n} "
                        "training images together. Remove fewer images, or use fewer targets."
                    )
                removed = tuple(int(row) for row in union)
                sets.append(RemovalSet(rule, k, group, removed, training_seed))
    return sets


def _union(rows: Sequence[np.ndarray], targets: Sequence[int]) -> np.ndarray:
    """Return the union of the rows of some targets, ascending."""
    return np.unique(np.concatenate([rows[q] for q in targets]))


def check_scores(scores: Mapping[str, np.ndarray], m: int, n: int) -> dict[str, np.ndarray]:
    """Return the score matrices as float64.

    Raises:
        SettingsError: if there is none, or one has the name of a baseline, another shape than
            `(m, n)`, or values that are not finite.
    """
    require(
        len(scores) > 0,
        "A counterfactual needs the scores of at least one method",
        len(scores),
        "Give scores by the name of their method.",
    )
    matrices = {}
    for name, values in scores.items():
        matrix = np.asarray(values, dtype=np.float64)
        require(
            name not in BASELINES,
            f"Scores have the name of their method; {', '.join(BASELINES)} are baselines",
            name,
            "Use another name.",
        )
        require(
            matrix.shape == (m, n),
            f"The scores of {name} are of {m} targets for {n} training images",
            matrix.shape,
            "Score the targets with an index of these images.",
        )
        broken = int((~np.isfinite(matrix)).sum())
        require(
            broken == 0,
            f"The scores of {name} are finite numbers",
            f"{broken} values that are not",
            "Check the features that they are computed from.",
        )
        matrices[name] = matrix
    return matrices
