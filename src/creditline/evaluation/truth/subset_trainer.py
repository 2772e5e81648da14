"""The trainer of subset models by training settings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.tuning.config import TuneConfig
from creditline.runtime import Runtime, SilentSink

if TYPE_CHECKING:
    from creditline.diffusion.denoiser import Denoiser
    from creditline.diffusion.model_source import ModelSource

TIMESTEPS = 1000
"""Number of timesteps of every model that is trained by `TrainConfig`."""


@dataclass(frozen=True)
class SubsetTrainer:
    """Function that trains one model on a subset, with training seed `config.seed + seed`.

    Attributes:
        config: settings of one training.
        base: denoiser that the training starts from or tunes; None to train from scratch.
        device: device of the training.
    """

    config: TrainConfig | TuneConfig
    base: Denoiser | None = None
    device: str = "cpu"

    @classmethod
    def create(
        cls,
        config: TrainConfig | TuneConfig,
        base: ModelSource | None,
        device: str,
        groups: Sequence[ImageSet],
    ) -> SubsetTrainer:
        """Create a trainer after checking that settings, base and images fit together.

        Args:
            config: settings of one training; checkpoints and samples are not written.
            base: what `load_model` takes, or None.
            device: device of the training.
            groups: training images, then sets of query images.

        Raises:
            CreditlineError: if they do not fit.
        """
        from creditline.diffusion.train import check_training

        start = check_training(groups[0], config, base, device)
        for queries in groups[1:]:
            check_training(queries, config, start, device)
        quiet = replace(config, checkpoint_every=0, sample_every=0)
        # A shallow copy: encodings of this training must not be set on the caller's model.
        return cls(quiet, copy.copy(start), device)

    @property
    def n_timesteps(self) -> int:
        """The number of timesteps of the diffusion process of the models."""
        return TIMESTEPS if self.base is None else self.base.process.n_timesteps

    def to_device(self, device: str) -> SubsetTrainer:
        """Return the trainer with another device."""
        return replace(self, device=device)

    def encode(self, groups: Sequence[ImageSet], folder: Path, runtime: Runtime) -> None:
        """Encode images and captions to a folder, once for all tunings and their queries."""
        if isinstance(self.config, TuneConfig):
            from creditline.diffusion.tuning.task import encode_all

            encode_all(self.base, groups, folder, self.config, runtime)

    def __call__(self, images: ImageSet, seed: int, folder: Path) -> Any:
        from creditline.diffusion.train import load_trained, train

        config = replace(self.config, seed=self.config.seed + seed)
        # No progress bar for a single training, beside the bar over all of them.
        runtime = Runtime(device=self.device, threads=1, sink=SilentSink())
        run = train(images, folder, config, base=self.base, runtime=runtime)
        return load_trained(run, config, self.base, self.device)
