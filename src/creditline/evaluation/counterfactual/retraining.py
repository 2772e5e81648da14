"""Retraining without some images, and generating the targets with the retrained models.

The result of a retraining is one file of generated images, which is written last and atomically. A
retraining that has this file is not repeated. An interrupted training resumes from its saved state.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.sampling import sample
from creditline.diffusion.train import ENCODED, load_trained, train
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import DamageError
from creditline.evaluation.counterfactual.removal import RemovalSet
from creditline.evaluation.counterfactual.sampling_plan import SamplingPlan
from creditline.notice import notice
from creditline.runtime import Runtime, SilentSink
from creditline.runtime.threads import cpu_threads
from creditline.stored_arrays import check_array, read_array, write_array

BATCH = 64


@dataclass(frozen=True)
class CounterfactualRetraining:
    """Inputs that all retrainings of a counterfactual share.

    Attributes:
        images: training images of the explained model.
        plan: sampling plan of the targets.
        controls: sampling plan of the controls, which every model generates; None for none.
        config, base, device, threads: settings of the training.
        folder: folder of the results.
        keep_models: whether to keep the retrained models.
    """

    images: ImageSet
    plan: SamplingPlan
    controls: SamplingPlan | None
    config: TrainConfig | TuneConfig
    base: Denoiser | None
    device: str
    threads: int
    folder: Path
    keep_models: bool

    def to_device(self, device: str) -> CounterfactualRetraining:
        """Return the job with another device."""
        return replace(self, device=device)

    def run(self, removals: Sequence[RemovalSet], runtime: Runtime) -> None:
        """Run the retrainings that have no result yet."""
        jobs = {removal.key: removal for removal in removals}
        pending = [removal for removal in jobs.values() if not self._is_finished(removal)]
        with runtime.progress(
            "counterfactual", len(jobs), "model", done=len(jobs) - len(pending)
        ) as bar:
            for _ in runtime.map(_retrain, self, pending):
                bar.advance()

    def read_images(self, removal: RemovalSet) -> np.ndarray:
        """Read what a retrained model generated: its targets, then the controls.

        Returns:
            uint8 of shape `(b, H, W, 3)`.

        Raises:
            DamageError: if the file is damaged or missing.
        """
        return read_array(self._result(removal), "Run the same command again.")

    def retrain(self, removal: RemovalSet) -> None:
        """Train without the images of a removal, generate, and store the generated images."""
        model = self.folder / "models" / removal.key
        rows = np.setdiff1d(np.arange(len(self.images)), removal.rows)
        config = replace(self.config, seed=removal.seed, checkpoint_every=0, sample_every=0)
        with cpu_threads(self.threads):
            train(
                self.images.subset(rows),
                model,
                config,
                base=self.base,
                runtime=Runtime(device=self.device, threads=self.threads, sink=SilentSink()),
                # encodings are shared by all tunings
                encoded=self.folder / ENCODED if isinstance(config, TuneConfig) else None,
            )
            images = self._generate(removal, model)
        write_array(self._result(removal), images)
        if not self.keep_models:
            shutil.rmtree(model)

    def _generate(self, removal: RemovalSet, model: Path) -> np.ndarray:
        denoiser = load_trained(model, self.config, self.base, self.device)
        own = self.plan.subset(removal.targets)
        # In separate batches, so that targets do not depend on whether there are controls.
        plans = [own] if self.controls is None else [own, self.controls]
        batches = [
            plan.subset(range(start, min(start + BATCH, len(plan))))
            for plan in plans
            for start in range(0, len(plan), BATCH)
        ]
        images = [sample(denoiser, batch.seeds, **batch.sample_arguments())[0] for batch in batches]
        return np.concatenate(images)

    def _is_finished(self, removal: RemovalSet) -> bool:
        """Whether a result is stored; one that is damaged is made again, with a warning."""
        path = self._result(removal)
        try:
            check_array(path, "The model is trained again.")
        except DamageError as error:
            if path.exists():
                notice(str(error))
            return False
        return True

    def _result(self, removal: RemovalSet) -> Path:
        return self.folder / "tasks" / f"{removal.key}.npy"


def _retrain(retraining: CounterfactualRetraining, removal: RemovalSet) -> None:
    retraining.retrain(removal)
