"""Projected gradients by dattri (Deng et al., NeurIPS 2024), by the steps of its TRAK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dattri.func.projection import random_project
from dattri.task import AttributionTask
from torch import Tensor
from work import loss, perform


def prepare(unet: Any, batch: list[Tensor], dim: int) -> Callable[[], Tensor]:
    """Gradients of all evaluations by `vmap`, then one projection."""

    def one(parameters: Any, sample: tuple[Tensor, ...]) -> Tensor:
        return loss(unet, parameters, *sample)

    task = AttributionTask(loss_func=one, model=unet, checkpoints=unet.state_dict())
    parameters, _ = task.get_param(ckpt_idx=0)
    gradients_of = task.get_grad_loss_func(in_dims=(None, 0))
    projectors: list[Any] = []

    def work() -> Tensor:
        gradients = gradients_of(parameters, tuple(batch))
        if not projectors:  # is told the shapes of gradients
            size = len(gradients)
            projectors.append(random_project(gradients, size, proj_dim=dim, proj_max_batch_size=32))
        return projectors[0](gradients, ensemble_id=0)

    return work


perform(prepare)
