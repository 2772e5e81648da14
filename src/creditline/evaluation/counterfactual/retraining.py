"""Models trained without some images, and what they draw: the work of a counterfactual.

A retraining's result is one file of pictures, written last and whole. Where it is, nothing of it is
done again; a model that was being trained when its process ended goes on from its saved state.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.ddim import sample
from creditline.diffusion.train import ENCODED, train, trained
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import CreditlineError
from creditline.evaluation.counterfactual.removal import RemovalSet
from creditline.evaluation.counterfactual.sampling_plan import SamplingPlan
from creditline.files import write_file
from creditline.runtime import Runtime

BATCH = 64


@dataclass(frozen=True)
class CounterfactualRetraining:
    """What all retrainings share.

    Attributes:
        images: training images of the model that is explained.
        draws: how the targets were drawn.
        controls: what every model draws besides; None for nothing.
        config, base, device, threads: of the training.
        folder: where results are kept.
        keep_models: keep the models too.
    """

    images: ImageSet
    draws: SamplingPlan
    controls: SamplingPlan | None
    config: TrainConfig | TuneConfig
    base: Any
    device: str
    threads: int
    folder: Path
    keep_models: bool

    def run(self, removals: Sequence[RemovalSet], workers: int) -> None:
        """Do what is not done yet."""
        jobs = {removal.key: removal for removal in removals}
        left = [removal for removal in jobs.values() if not self._result(removal).is_file()]
        with Runtime().progress(
            "counterfactual", len(jobs), "model", done=len(jobs) - len(left)
        ) as bar:
            for _ in Runtime(workers=workers).map(_retrain, self, left):
                bar.advance()

    def pictures(self, removal: RemovalSet) -> np.ndarray:
        """What a removal's model drew, uint8 `(b, H, W, 3)`: its targets, then the controls.

        Raises:
            CreditlineError: if the file is damaged or missing.
        """
        path = self._result(removal)
        try:
            return np.load(path)
        except (OSError, ValueError, EOFError) as error:
            raise CreditlineError(
                f"{path} cannot be read ({error}). Delete it and run the same command again."
            ) from error

    def retrain(self, removal: RemovalSet) -> None:
        """Train without a removal's images, draw, and keep the pictures."""
        model = self.folder / "models" / removal.key
        kept = np.setdiff1d(np.arange(len(self.images)), removal.rows)
        config = replace(self.config, seed=removal.seed, checkpoint_every=0, sample_every=0)
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            train(
                self.images.subset(kept),
                model,
                config,
                base=self.base,
                device=self.device,
                threads=self.threads,
                # of a tuning, shared by all
                encoded=self.folder / ENCODED if isinstance(config, TuneConfig) else None,
            )
            pictures = self._drawn(removal, model)
        finally:
            torch.set_num_threads(before)
        write_file(self._result(removal), lambda path: np.save(path, pictures), overwrite=True)
        if not self.keep_models:
            shutil.rmtree(model)

    def _drawn(self, removal: RemovalSet, model: Path) -> np.ndarray:
        denoiser = trained(model, self.config, self.base, self.device)
        own = self.draws.subset(removal.targets)
        # Apart, so that a target's pictures do not depend on whether there are controls.
        parts = [own] if self.controls is None else [own, self.controls]
        batches = [
            part.subset(range(start, min(start + BATCH, len(part))))
            for part in parts
            for start in range(0, len(part), BATCH)
        ]
        drawn = [sample(denoiser, batch.seeds, **batch.sampling())[0] for batch in batches]
        return np.concatenate(drawn)

    def _result(self, removal: RemovalSet) -> Path:
        return self.folder / "tasks" / f"{removal.key}.npy"


def _retrain(retrained: CounterfactualRetraining, removal: RemovalSet) -> None:
    retrained.retrain(removal)
