"""Classifier-free guidance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from creditline.diffusion.denoiser import Denoiser
from creditline.settings import require


class GuidedDenoiser:
    """A denoiser with its conditions and classifier-free guidance, as samplers call it.

    The prediction is `o_uncond + g (o_cond - o_uncond)` (Ho & Salimans, 2022). A network distilled
    with a guidance embedding takes `g` as an input instead. Features never use guidance.

    Args:
        denoiser: the model.
        inputs: prompt or class label of each image.
        guidance: the scale g; 1 is without; None: the default of the pipeline.
        negative_prompt: replaces the empty prompt.

    Raises:
        SettingsError: if the model has no unconditional input and guidance or a negative prompt
            needs one.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        inputs: Sequence[Any],
        guidance: float | None = None,
        negative_prompt: str | None = None,
    ) -> None:
        self.denoiser = denoiser
        self.process, self.on_pixels = denoiser.process, denoiser.on_pixels
        self.guidance = denoiser.default_guidance if guidance is None else guidance
        self.condition = self._move(denoiser.encode_conditions(inputs, self.guidance))
        embedded = "guidance" in self.condition
        plain = self.guidance == 1 or embedded
        unconditional = (
            None
            if plain and negative_prompt is None
            else denoiser.encode_unconditional(len(inputs), negative_prompt)
        )
        require(
            plain or unconditional is not None,
            "This model has no unconditional input, which guidance needs",
            self.guidance,
            "Use guidance 1.",
        )
        require(
            negative_prompt is None
            or (denoiser.takes_prompts and unconditional is not None and not plain),
            "A negative prompt needs a model that takes prompts, and classifier-free guidance",
            negative_prompt,
            "Leave it out, or use a guidance above 1.",
        )
        self.unconditional = None if unconditional is None else self._move(unconditional)

    def predict(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the guided prediction, of the shape of `x_t`."""
        output = self.denoiser.predict(x_t, t, self.condition)
        if self.unconditional is None:
            return output
        baseline = self.denoiser.predict(x_t, t, self.unconditional)
        return baseline + self.guidance * (output - baseline)

    def _move(self, condition: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self.denoiser.device) for name, value in condition.items()}
