"""Settings of an LDS evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

from creditline.bounds import SEED, Bounds
from creditline.evaluation.interval import RESAMPLES
from creditline.evaluation.lds.damping import DampingSearch
from creditline.settings import setting, validate_settings


@dataclass(frozen=True)
class LDSConfig:
    """Settings of the bootstrap and of the damping search.

    Raises:
        SettingsError: if there are fewer than 2 resamples, or the seed is negative.
    """

    resamples: int = setting(RESAMPLES, "bootstrap resamples of the subsets", bounds=Bounds(2))
    bootstrap_seed: int = setting(
        0, "seed of the resamples, the random baseline and the folds", bounds=SEED
    )
    search: DampingSearch = field(default_factory=DampingSearch)

    def __post_init__(self) -> None:
        validate_settings(self)
