"""The trainer that settings stand for."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.tuning.config import TuneConfig

TIMESTEPS = 1000
"""Of the process of every model that is trained by `TrainConfig`."""


@dataclass(frozen=True)
class SubsetTrainer:
    """Trains by settings: seed `s` with seed `config.seed + s`.

    Attributes:
        config: of one training.
        base: denoiser that it starts from or tunes; None for fresh weights.
        device: where.
    """

    config: TrainConfig | TuneConfig
    base: Any = None
    device: str = "cpu"

    @classmethod
    def of(
        cls,
        config: TrainConfig | TuneConfig,
        base: Any,
        device: str,
        groups: Sequence[ImageSet],
    ) -> SubsetTrainer:
        """One whose settings, base and pictures fit together.

        Args:
            config: of one training; checkpoints and samples are not made.
            base: what `load_model` takes, or None.
            device: where to train.
            groups: training images, then queries.

        Raises:
            CreditlineError: whatever does not fit.
        """
        from creditline.diffusion.train import check_start

        start = check_start(groups[0], config, base, device)
        for queries in groups[1:]:
            check_start(queries, config, start, device)
        quiet = replace(config, checkpoint_every=0, sample_every=0)
        # A copy that shares everything: the caller's base is not told where encodings are.
        return cls(quiet, copy.copy(start), device)

    @property
    def n_timesteps(self) -> int:
        """Of the process of the models."""
        return TIMESTEPS if self.base is None else self.base.process.n_timesteps

    def encode(self, groups: Sequence[ImageSet], folder: Path) -> None:
        """Encode pictures and captions once for all tunings and their queries, in a folder."""
        if isinstance(self.config, TuneConfig):
            from creditline.diffusion.tuning.task import encode_all

            encode_all(self.base, groups, folder, self.config)

    def __call__(self, images: ImageSet, seed: int, folder: Path) -> Any:
        from creditline.diffusion.train import train, trained

        config = replace(self.config, seed=self.config.seed + seed)
        run = train(images, folder, config, base=self.base, device=self.device, threads=1)
        return trained(run, config, self.base, self.device)
