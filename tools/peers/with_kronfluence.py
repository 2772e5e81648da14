"""EK-FAC influence by kronfluence (Grosse et al., 2023), from the same evaluations.

The folder holds `unet/` and `work.pt`: evaluations for the covariances, for the eigenvalues, of
training images and of queries, as noisy images, timesteps, and targets or output gradients.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from torch.utils.data import TensorDataset

BATCH = 16


class DiffusionTask(Task):
    """The loss of noisy images; curvature from outputs that were sampled elsewhere.

    Args:
        modules: names of the layers.
    """

    def __init__(self, modules: list[str]) -> None:
        super().__init__()
        self.modules = modules

    def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> Any:
        x_t, t, other = batch
        output = model(x_t, t).sample
        if sample:
            return (output * other).sum()
        return (output - other).square().flatten(1).mean(1).sum()

    def compute_measurement(self, batch: Any, model: Any) -> Any:
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        return self.modules


def main() -> None:
    """Fit and score once; print the seconds of CPU of both, write `scores.pt`."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    work = torch.load(folder / "work.pt")
    unet = UNet2DModel.from_pretrained(folder / "unet").eval()
    task = DiffusionTask(work["modules"])
    model = prepare_model(model=unet, task=task)
    analyzer = Analyzer(
        analysis_name="peer", model=model, task=task, cpu=True, output_dir=str(folder / "analysis"),
        disable_tqdm=True, disable_model_save=True,
    )  # fmt: skip
    sets = {name: TensorDataset(*work[name]) for name in ("first", "second", "train", "query")}
    factors = FactorArguments(strategy="ekfac")
    start = time.process_time()
    sizes = {"per_device_batch_size": BATCH, "factor_args": factors}
    analyzer.fit_covariance_matrices("peer", sets["first"], **sizes)
    analyzer.perform_eigendecomposition("peer", factor_args=factors)
    analyzer.fit_lambda_matrices("peer", sets["second"], **sizes)
    middle = time.process_time()
    analyzer.compute_pairwise_scores(
        "peer", "peer", query_dataset=sets["query"], train_dataset=sets["train"],
        per_device_query_batch_size=BATCH, per_device_train_batch_size=BATCH,
        score_args=ScoreArguments(damping_factor=None),
    )  # fmt: skip
    end = time.process_time()
    scores = analyzer.load_pairwise_scores("peer")["all_modules"]
    queries, images = work["counts"]
    blocks = scores.view(queries, len(scores) // queries, images, -1)
    torch.save(blocks.mean((1, 3)), folder / "scores.pt")
    if not math.isfinite(float(blocks.sum())):
        raise ValueError("scores are not finite")
    print(f"seconds {middle - start} {end - middle}")


main()
