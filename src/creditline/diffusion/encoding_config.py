"""How pictures and captions become what a network on latents is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from creditline.settings import require, setting, validate_choices


@dataclass(frozen=True)
class EncodingConfig:
    """Choices between a picture with its caption and the tensors of a latent or text model.

    Features never use classifier-free guidance: it belongs to sampling, and no network was trained
    with it. `embedded_guidance` is something else, an input of networks distilled to take one.

    Raises:
        SettingsError: on an unknown name or a number that cannot be.
    """

    vae: Literal["mode", "sample"] = setting(
        "mode", "latents are the mean of the VAE's posterior, or one draw from it"
    )
    vae_seed: int = setting(0, "seed of the draws from the VAE's posterior")
    side: int | None = setting(None, "side of the pictures in pixels; none: the model's own")
    caption: str | None = setting(None, "prompt of pictures that have none")
    long_prompts: Literal["refuse", "cut"] = setting(
        "refuse", "what becomes of prompts with more tokens than the text encoders take"
    )
    prompt_tokens: int | None = setting(
        None, "tokens that a T5 encoder is given; none: as many as the pipeline's default"
    )
    embedded_guidance: float = setting(
        3.5, "guidance that networks with a guidance embedding are told (FLUX.1-dev)"
    )

    def __post_init__(self) -> None:
        validate_choices(self)
        require(self.vae_seed >= 0, "vae_seed must not be negative", self.vae_seed, "Try 0.")
        for name in ("side", "prompt_tokens"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be at least 1", value, "Try none.")
        require(
            self.embedded_guidance >= 0,
            "embedded_guidance must not be negative",
            self.embedded_guidance,
            "Try 3.5.",
        )
