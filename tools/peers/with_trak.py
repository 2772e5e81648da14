"""Projected gradients by traker (Park et al., ICML 2023)."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from torch import Tensor
from trak import TRAKer
from trak.modelout_functions import AbstractModelOutput
from work import loss, perform


class DiffusionLoss(AbstractModelOutput):
    """The output whose gradient is taken is the loss itself."""

    def __init__(self) -> None:
        """Nothing to keep; the base class wants one."""

    @staticmethod
    def get_output(model: Any, weights: Any, buffers: Any, *sample: Tensor) -> Tensor:
        return loss(model, {**weights, **buffers}, *sample)

    def get_out_to_loss_grad(self, model: Any, weights: Any, buffers: Any, batch: Any) -> Tensor:
        return torch.ones(len(batch[0]), 1)


def prepare(unet: Any, batch: list[Tensor], dim: int) -> Callable[[], Tensor]:
    """One call of `featurize` for the whole batch, each time for another model as it were."""
    traker = TRAKer(
        model=unet,
        task=DiffusionLoss(),
        train_set_size=len(batch[0]),
        save_dir=tempfile.mkdtemp(dir=sys.argv[1]),
        device="cpu",
        proj_dim=dim,
        use_half_precision=False,
    )
    ids = count()

    def work() -> Tensor:
        traker.load_checkpoint(unet.state_dict(), model_id=next(ids))
        traker.featurize(batch=batch, num_samples=len(batch[0]))
        return torch.tensor(traker.saver.current_store["grads"])

    return work


perform(prepare)
