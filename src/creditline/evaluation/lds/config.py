"""Settings of an LDS evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

from creditline.evaluation.interval import RESAMPLES
from creditline.evaluation.lds.damping import DampingSearch
from creditline.settings import require, setting


@dataclass(frozen=True)
class LDSConfig:
    """Settings of the bootstrap and of the damping search.

    Raises:
        SettingsError: if there are fewer than 2 resamples, or the seed is negative.
    """

    resamples: int = setting(RESAMPLES, "bootstrap resamples of the subsets")
    bootstrap_seed: int = setting(0, "seed of the resamples, the random baseline and the folds")
    search: DampingSearch = field(default_factory=DampingSearch)

    def __post_init__(self) -> None:
        require(self.resamples >= 2, "resamples must be at least 2", self.resamples, "Try 1000.")
        seed = self.bootstrap_seed
        require(seed >= 0, "bootstrap_seed must not be negative", seed, "Try 0.")
