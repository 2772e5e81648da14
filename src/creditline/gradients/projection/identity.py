"""No projection."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from creditline.gradients.projection.layout import Block
from creditline.gradients.projection.projector import Projector


class Identity(Projector):
    """The feature is the explicit gradient, layer by layer."""

    settings = ()
    is_exact = True

    def project_block(self, block: Block, pieces: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(pieces), dim=1)
