"""Settings of how images and captions are encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from creditline.settings import require, setting, to_dict, validate_choices


@dataclass(frozen=True)
class EncodingConfig:
    """Settings of how an image and its caption become the inputs of a latent or text model.

    `embedded_guidance` is an input of networks distilled with a guidance embedding. It is not
    classifier-free guidance, which features never use: no network was trained with it.

    Raises:
        SettingsError: on an unknown name or a number out of range.
    """

    vae: Literal["mode", "sample"] = setting(
        "mode", "latents are the mean of the VAE's posterior, or one sample of it"
    )
    vae_seed: int = setting(0, "seed of the samples of the VAE's posterior")
    side: int | None = setting(
        None, "height and width of the images in pixels; none: the model's own"
    )
    caption: str | None = setting(None, "prompt of images without a caption")
    long_prompts: Literal["refuse", "cut"] = setting(
        "refuse", "handling of prompts with more tokens than the text encoders take"
    )
    prompt_tokens: int | None = setting(
        None, "tokens of a T5 or Gemma encoder; none: the pipeline's default"
    )
    embedded_guidance: float = setting(
        3.5, "input of networks with a guidance embedding (FLUX.1-dev)"
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

    def changes(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults."""
        defaults = to_dict(EncodingConfig())
        return {name: value for name, value in to_dict(self).items() if value != defaults[name]}
