"""Objectives: the scalar of a denoiser's output whose gradient is the feature.

TRAK differentiates the training loss ("simple"); D-TRAK found that other functions of the output,
above all its squared norm, attribute better (Zheng et al., ICLR 2024, section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from creditline.bounds import FRACTION, Bounds
from creditline.settings import require, setting, validate_settings

if TYPE_CHECKING:
    from torch import Tensor

    from creditline.diffusion.process import Process

ObjectiveName = Literal["simple", "elbo", "square-norm", "average", "p-norm", "interpolation"]


@dataclass(frozen=True)
class Objective:
    """A function of the network's output `o` on `x_t`, its target `y`, over `D` elements.

    | name | value, summed over elements | D-TRAK paper |
    |---|---|---|
    | `simple` | `(o - y)^2` | L_Simple |
    | `elbo` | `w_t (eps_hat - eps)^2` with the variational weight `w_t` | L_ELBO |
    | `square-norm` | `o^2` | L_Square |
    | `average` | `o` | L_Avg |
    | `p-norm` | `(sum |o|^p)^(1/p)`, `p` from 1 to infinity | L_p-norm |
    | `interpolation` | `(o - eta y)^2`: eta = 0 is `square-norm`, eta = 1 is `simple` | Figure 1 |

    Each term of these sums may have a weight (of the p-norm's, inside the root): a mask. `D` stays
    the number of all elements, so values under weights that add up to one everywhere add up.

    `reduction="mean"` divides the inner sum by `D` (inside the root for the p-norm). The paper
    writes sums; its code takes means. Scores of ridge methods do not depend on it as long as the
    damping is relative to the spectrum.

    Raises:
        SettingsError: on an unknown name, `p < 1` or a non-finite `eta`.
    """

    objective: ObjectiveName = setting("simple", "function of the output whose gradient is taken")
    p: float = setting(
        2.0, "order of the p-norm objective, 1 to inf", bounds=Bounds(1, infinite=True)
    )
    eta: float = setting(
        0.5, "interpolation objective: 0 is square-norm, 1 is simple", bounds=FRACTION
    )
    reduction: Literal["mean", "sum"] = setting("mean", "over the elements of the output")
    space: Literal["output", "epsilon"] = setting(
        "output", "apply it to the network's own output, or to the noise the output implies"
    )

    def __post_init__(self) -> None:
        validate_settings(self)

    def __call__(
        self,
        process: Process,
        output: Tensor,
        x0: Tensor,
        noise: Tensor,
        t: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The objective of each element of a batch.

        Args:
            process: gives targets, implied noise and weights.
            output: native prediction of the network, shape `(b, ...)`.
            x0: clean images or latents, shape `(b, ...)`.
            noise: noise that was added, shape `(b, ...)`.
            t: timesteps, int64 of shape `(b,)`.
            weight: of the elements' terms, of a shape that broadcasts to the output's; None: ones.

        Returns:
            Values of shape `(b,)`, in float32 or better.
        """
        import torch

        if output.dtype in (torch.float16, torch.bfloat16):
            output, x0, noise = output.float(), x0.float(), noise.float()
        if self.space == "epsilon" or self.objective == "elbo":
            x_t = process.add_noise(x0, noise, t)
            output, target = process.to_epsilon(output, x_t, t), noise
        else:
            target = process.target(x0, noise, t)
        w = None if weight is None else weight.to(output).expand_as(output).flatten(1)
        output, target = output.flatten(1), target.flatten(1)
        if self.objective == "simple":
            return self._reduce((output - target).square(), w)
        if self.objective == "elbo":
            level = process.elbo_weight(t).to(output)
            return level * self._reduce((output - target).square(), w)
        if self.objective == "square-norm":
            return self._reduce(output.square(), w)
        if self.objective == "average":
            return self._reduce(output, w)
        if self.objective == "interpolation":
            return self._reduce((output - self.eta * target).square(), w)
        if w is not None:
            self.require_maskable()
            output = output * w ** (1 / self.p)
        norm = torch.linalg.vector_norm(output, ord=self.p, dim=1)
        if self.reduction == "mean" and math.isfinite(self.p):
            norm = norm / output.shape[1] ** (1 / self.p)
        return norm

    def require_maskable(self) -> None:
        """Refuse weights if the objective is not a sum over elements.

        Raises:
            SettingsError: for infinite `p`.
        """
        require(
            self.objective != "p-norm" or math.isfinite(self.p),
            "A region of an image can be attributed if the objective sums over its elements, and "
            "the p-norm of infinite p is their maximum",
            self.p,
            "Choose a finite p, or square-norm.",
        )

    def _reduce(self, values: Tensor, w: Tensor | None) -> Tensor:
        values = values if w is None else values * w
        return values.mean(1) if self.reduction == "mean" else values.sum(1)
