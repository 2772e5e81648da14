"""Which training images a counterfactual leaves out: the most influential, random ones, the least.

Rules, of one query with scores `s` (positive: training on the image lowered the query's loss):

- a method's own name: the k largest `s`, its proponents;
- `random`: k drawn uniformly, the same for every method, those of a smaller k among a larger's;
- `least`: the k smallest `|s|` of the first method, images said to have done nothing either way;
- `nothing` and `other-seed`: none; retrained from the same seed, and from the next one.

Equal scores go by row. For a set of targets together the union over its queries is removed, so the
rules remove different numbers of images; how many is reported. Targets share proponents, which
random draws for each would not, so that random then removes as many images as the methods do: the
median of their unions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from creditline.errors import SettingsError
from creditline.fingerprint import key64, of_json
from creditline.settings import require

NOTHING, OTHER_SEED, RANDOM, LEAST = "nothing", "other-seed", "random", "least"
BASELINES = (NOTHING, OTHER_SEED, RANDOM, LEAST)


@dataclass(frozen=True)
class RemovalSet:
    """One retraining.

    Attributes:
        rule: what chose the images, such as `"d-trak"` or `"random"`.
        k: images per target.
        targets: positions of the targets it was chosen for.
        rows: training images left out, ascending.
        seed: of the training.
    """

    rule: str
    k: int
    targets: tuple[int, ...]
    rows: tuple[int, ...]
    seed: int

    @property
    def key(self) -> str:
        """Name of its work: equal removals, by whatever rule, are done once."""
        return of_json([self.targets, self.rows, self.seed])[:20]


def top(scores: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k largest scores, largest first."""
    return np.argsort(-scores, kind="stable")[:k]


def least(scores: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k scores nearest to zero, nearest first."""
    return np.argsort(np.abs(scores), kind="stable")[:k]


def at_random(n: int, k: int, seed: int, target: str) -> np.ndarray:
    """k of n rows; a function of the seed and the target's id alone."""
    generator = np.random.Generator(np.random.Philox(key=key64("removal", seed, target)))
    return generator.permutation(n)[:k]


def plan(
    scores: Mapping[str, np.ndarray],
    ids: Sequence[str],
    removals: Sequence[int],
    *,
    together: bool,
    training_seed: int,
    removal_seed: int = 0,
    baselines: Collection[str] = BASELINES,
) -> list[RemovalSet]:
    """Every retraining of a counterfactual, those without removal first.

    Args:
        scores: by method, `(m, n)` each.
        ids: of the m targets.
        removals: grid of k.
        together: remove the union over all targets instead of each target's own images.
        training_seed: of the model that is explained.
        removal_seed: of random removal.
        baselines: which of `BASELINES` to compare with.

    Raises:
        SettingsError: if nothing would be left to train on.
    """
    m, n = next(iter(scores.values())).shape
    everyone = tuple(range(m))
    found = [
        RemovalSet(rule, 0, everyone, (), seed)
        for rule, seed in ((NOTHING, training_seed), (OTHER_SEED, training_seed + 1))
        if rule in baselines
    ]
    groups = [everyone] if together else [(q,) for q in everyone]
    first = next(iter(scores))
    for k in removals:
        require(0 < k < n, f"A removal leaves some of {n} images", k, "Remove fewer.")
        chosen = {name: [top(row, k) for row in matrix] for name, matrix in scores.items()}
        if RANDOM in baselines:
            alike = [at_random(n, k, removal_seed, target) for target in ids]
            if together:
                unions = [len(_union(rows, everyone)) for rows in chosen.values()]
                size = int(np.median(unions))
                alike = [at_random(n, size, removal_seed, " ".join(ids))] * m
            chosen[RANDOM] = alike
        if LEAST in baselines:
            chosen[LEAST] = [least(row, k) for row in scores[first]]
        for rule, rows in chosen.items():
            for group in groups:
                union = _union(rows, group)
                if len(union) == n:
                    raise SettingsError(
                        f"The {k} images of each of {len(group)} targets by {rule!r} are all {n} "
                        "training images together. Remove fewer, or take fewer targets."
                    )
                left_out = tuple(int(row) for row in union)
                found.append(RemovalSet(rule, k, group, left_out, training_seed))
    return found


def _union(rows: Sequence[np.ndarray], targets: Sequence[int]) -> np.ndarray:
    """Everything that is removed for some of the targets, ascending."""
    return np.unique(np.concatenate([rows[q] for q in targets]))


def check_scores(scores: Mapping[str, np.ndarray], m: int, n: int) -> dict[str, np.ndarray]:
    """The score matrices as float64.

    Raises:
        SettingsError: if there is none, one is called like a baseline, has another shape than
            `(m, n)`, or holds numbers that are not finite.
    """
    require(len(scores) > 0, "A counterfactual needs the scores of a method", 0, "Give some.")
    checked = {}
    for name, given in scores.items():
        matrix = np.asarray(given, dtype=np.float64)
        require(
            name not in BASELINES,
            f"Scores are called by their method; {', '.join(BASELINES)} are the baselines",
            name,
            "Call them otherwise.",
        )
        require(
            matrix.shape == (m, n),
            f"The scores of {name} are of {m} targets for {n} training images",
            matrix.shape,
            "Score the targets with an index of these images.",
        )
        strange = int((~np.isfinite(matrix)).sum())
        require(
            strange == 0,
            f"The scores of {name} are finite numbers",
            f"{strange} that are not",
            "Find out where they come from.",
        )
        checked[name] = matrix
    return checked
