"""Losses of queries: the output of a trained model that attributions are to predict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from creditline.bounds import COUNT, DRAWS, SEED
from creditline.errors import NumericsError
from creditline.gradients.noise_plan import NoisePlan
from creditline.runtime.determinism import exact_kernels
from creditline.settings import setting, validate_settings

if TYPE_CHECKING:
    import torch

    from creditline.data.image_set import ImageSet
    from creditline.diffusion.denoiser import Denoiser

BATCH = 128
"""Number of evaluations per forward pass."""


@dataclass(frozen=True)
class LossPlan:
    """Settings of the timesteps and noise at which query losses are measured.

    Raises:
        SettingsError: on counts below 1 or a negative seed.
    """

    loss_timesteps: int = setting(
        50, "timesteps of the loss, at the ends of equal intervals", bounds=COUNT
    )
    loss_draws: int = setting(2, "noise draws per timestep of the loss", bounds=DRAWS)
    loss_seed: int = setting(0, "seed of the loss's noise", bounds=SEED)

    def __post_init__(self) -> None:
        validate_settings(self)

    def noise(self) -> NoisePlan:
        """Return the noise plan: the end of each of `loss_timesteps` equal intervals."""
        return NoisePlan(
            timesteps=self.loss_timesteps,
            include_zero=False,
            draws=self.loss_draws,
            noise_seed=self.loss_seed,
        )


def measure_losses(
    denoiser: Denoiser, images: ImageSet, plan: LossPlan, batch_size: int = BATCH
) -> np.ndarray:
    """Measure the training loss of each query: the squared error against the network's target.

    The noise is keyed by the content of the query. All models therefore see the same noise, which
    is independent of the noise of every attribution method.

    Args:
        denoiser: a trained model; it is evaluated without dropout.
        images: query images.
        plan: timesteps and noise.
        batch_size: number of evaluations per forward pass; it changes only rounding.

    Returns:
        Mean over elements, timesteps, draws and captions, float64 of shape `(m,)`.

    Raises:
        ModelError: if the queries do not fit the model.
        NumericsError: if a loss is not finite.
        SettingsError: if the process has fewer timesteps than the plan asks for.
    """
    import torch

    denoiser.check(images)
    noise, per_query = plan.noise(), plan.loss_timesteps * plan.loss_draws
    queries = max(1, batch_size // per_query)  # whose evaluations share a noised batch
    losses = np.empty(len(images))
    exact = exact_kernels(denoiser.device)
    with _eval_mode(denoiser.module), exact, torch.no_grad():
        for start in range(0, len(images), queries):
            rows = range(start, min(start + queries, len(images)))
            errors = _errors(denoiser, images, rows, noise, batch_size)
            losses[rows.start : rows.stop] = errors.reshape(len(rows), per_query).mean(1)
    if not np.isfinite(losses).all():
        worst = int(np.argmin(np.isfinite(losses)))
        model = denoiser.source or type(denoiser.module).__name__
        raise NumericsError(
            f"The loss of query {images.names[worst]} is {losses[worst]} under the model {model}. "
            "Train with a lower learning rate."
        )
    return losses


def _errors(
    denoiser: Denoiser, images: ImageSet, rows: range, plan: NoisePlan, batch_size: int
) -> np.ndarray:
    """Compute the error of every evaluation of some queries, float64, query-major."""
    import torch

    from creditline.gradients.caption_turns import with_captions
    from creditline.gradients.noised_batch import expand, join

    images.require_no_masks("The loss under a retrained model")
    batch = denoiser.encode(images, rows)
    # With their plain ids the queries would get the noise of attribution methods with this seed.
    batch = replace(batch, ids=tuple(f"loss of {key}" for key in batch.ids))
    expanded = zip(expand(denoiser, batch, plan, "query"), rows, strict=True)
    probes = [with_captions(noised, denoiser, images, i) for noised, i in expanded]
    evaluations, process, errors = join(probes), denoiser.process, []
    for positions in torch.arange(len(evaluations.t)).split(batch_size):
        part = evaluations[positions].to(denoiser.device, denoiser.dtype)
        clean, noise, t = part.x0, part.noise, part.t
        output = denoiser.predict(process.add_noise(clean, noise, t), t, part.condition)
        error = output.double() - process.target(clean, noise, t).double()
        errors.append(error.square().flatten(1).mean(1).cpu())
    return torch.cat(errors).numpy()


@contextmanager
def _eval_mode(module: torch.nn.Module) -> Iterator[None]:
    """Disable dropout, and restore the mode of the module afterwards."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
