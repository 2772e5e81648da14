"""Settings of how images and captions are encoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from creditline.bounds import COUNT, NOT_NEGATIVE, SEED, SIDE
from creditline.errors import SettingsError
from creditline.files import refuse_file
from creditline.settings import setting, to_dict, validate_settings


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
    vae_seed: int = setting(0, "seed of the samples of the VAE's posterior", bounds=SEED)
    side: int | None = setting(
        None, "height and width of the images in pixels; none: the model's own", bounds=SIDE
    )
    caption: str | None = setting(None, "prompt of images without a caption")
    long_prompts: Literal["refuse", "cut"] = setting(
        "refuse", "handling of prompts with more tokens than the text encoders take"
    )
    prompt_tokens: int | None = setting(
        None, "tokens of a T5 or Gemma encoder; none: the pipeline's default", bounds=COUNT
    )
    embedded_guidance: float = setting(
        3.5, "input of networks with a guidance embedding (FLUX.1-dev)", bounds=NOT_NEGATIVE
    )

    def __post_init__(self) -> None:
        validate_settings(self)

    def changes(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults."""
        defaults = to_dict(EncodingConfig())
        return {name: value for name, value in to_dict(self).items() if value != defaults[name]}


def require_folder(folder: str | Path | None, models: Iterable[Any] | None = None) -> None:
    """Refuse a folder of encodings that is a file, or that no model would use.

    Args:
        folder: of latents and text embeddings; None: none was given.
        models: denoisers; None: they are not known yet.

    Raises:
        SettingsError: naming the folder.
    """
    if folder is None:
        return
    refuse_file("encoded", folder)
    if models is not None and not any(model.encoders() for model in models):
        raise SettingsError(
            f"encoded= (--encoded) names {folder}, and there is nothing to keep in it: no model "
            "here has an autoencoder or text encoder. Leave it out."
        )
