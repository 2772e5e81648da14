"""Classifier-free guidance: what a sampler sees of a conditional denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from creditline.diffusion.denoiser import Denoiser
from creditline.settings import require


class GuidedDenoiser:
    """A denoiser's prediction for some pictures, led away from the unconditional one.

    `o_uncond + g (o_cond - o_uncond)` (Ho & Salimans, 2022); a network distilled to take guidance
    is told `g` instead. Features are taken without any of this.

    Args:
        denoiser: the model.
        wanted: prompt or class of each picture.
        guidance: the scale g; 1 is without; None: what its pipeline samples with.
        negative: a prompt to be led away from, instead of the empty one.

    Raises:
        SettingsError: if the model has no unconditional side, and is to be guided or led away.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        wanted: Sequence[Any],
        guidance: float | None = None,
        negative: str | None = None,
    ) -> None:
        self.denoiser = denoiser
        self.guidance = denoiser.usual_guidance if guidance is None else guidance
        self.condition = self._placed(denoiser.conditions(wanted, self.guidance))
        told = "guidance" in self.condition
        plain = self.guidance == 1 or told
        other = (
            None if plain and negative is None else denoiser.unconditional(len(wanted), negative)
        )
        require(
            plain or other is not None,
            "This model has no unconditional side that guidance needs",
            self.guidance,
            "Use guidance 1.",
        )
        require(
            negative is None or (denoiser.takes_prompts and other is not None and not plain),
            "A negative prompt needs a model that reads prompts, and classifier-free guidance",
            negative,
            "Leave it out, or use a guidance above 1.",
        )
        self.other = None if other is None else self._placed(other)

    def predict(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The guided prediction, of the shape of `x_t`."""
        output = self.denoiser.predict(x_t, t, self.condition)
        if self.other is None:
            return output
        away = self.denoiser.predict(x_t, t, self.other)
        return away + self.guidance * (output - away)

    def _placed(self, condition: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self.denoiser.device) for name, value in condition.items()}
