"""Embeddings of an image encoder as features: CLIP, DINO, or any callable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from creditline.data.image_set import ImageSet
from creditline.errors import ModelError, SettingsError
from creditline.gradients.engine import Reduction
from creditline.gradients.plan import Role
from creditline.gradients.probe import Trajectory
from creditline.runtime.threads import single_thread

Encoder = Callable[[list[Image.Image]], Any]


class EncoderSource:
    """Embeds images with `encoder`.

    Args:
        encoder: takes a list of RGB pictures, returns an array or tensor of shape `(b, k)`.
        dim: its embedding dimension; found by embedding a blank picture when not given.

    Attributes:
        dim: embedding dimension k.
        models: always 1.

    Raises:
        ModelError: if the encoder returns something else.
    """

    models = 1
    halves = False
    parts: Reduction = "whole"

    def __init__(self, encoder: Encoder, dim: int | None = None) -> None:
        self.encoder = encoder
        self.dim = dim or self._embed([Image.new("RGB", (32, 32))]).shape[1]

    def check(self, images: ImageSet) -> None:
        """Encoders resize for themselves: every image fits, as a whole."""
        images.require_whole("Likeness to an encoder")

    def extract(
        self,
        images: ImageSet,
        indices: Sequence[int],
        role: Role = "train",
        trajectories: Sequence[Trajectory | None] | None = None,
        parts: Reduction = "whole",
    ) -> np.ndarray:
        """Features of shape `(b, 1, 1, k)`, float32."""
        return self._embed([images.image(i) for i in indices])[:, None, None, :]

    def _embed(self, pictures: list[Image.Image]) -> np.ndarray:
        with single_thread():
            output = self.encoder(pictures)
        if isinstance(output, torch.Tensor):
            output = output.detach().float().cpu().numpy()
        array = np.asarray(output, dtype=np.float32)
        if array.ndim != 2 or len(array) != len(pictures):
            raise ModelError(
                f"An encoder returns one vector per picture; for {len(pictures)} pictures it "
                f"returned shape {array.shape}. Pool and flatten its output to (pictures, k)."
            )
        if array.shape[1] != getattr(self, "dim", array.shape[1]):
            raise ModelError(
                f"The encoder returned {array.shape[1]} dimensions where {self.dim} are expected. "
                "Use the encoder that the index was built with."
            )
        return array


class TransformersEncoder:
    """CLIP (image embedding) or DINO (class token) of a transformers folder.

    Args:
        folder: local folder, or a hub name where the network allows.
        device: where to run.

    Raises:
        SettingsError: if `transformers` is not installed.
        ModelError: if the folder cannot be loaded.
    """

    def __init__(self, folder: str, device: str | torch.device = "cpu") -> None:
        try:
            from transformers import AutoImageProcessor, AutoModel
        except ImportError as error:
            raise SettingsError(
                "CLIP and DINO encoders need transformers. "
                "Install it with: pip install 'creditline[encoders]'."
            ) from error
        self.folder, self.device = folder, torch.device(device)
        try:
            # Processors backed by torchvision are not available; the PIL ones need nothing else.
            self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
            self.model = AutoModel.from_pretrained(folder, use_safetensors=True)
        except (OSError, ValueError, ImportError) as error:
            raise ModelError(
                f"Cannot load an encoder from {folder!r}: {error}. Give a folder with the model's "
                "config, safetensors weights and preprocessor_config.json."
            ) from error
        self.model.to(self.device).eval()

    @torch.no_grad()
    def __call__(self, pictures: list[Image.Image]) -> torch.Tensor:
        inputs = self.processor(images=pictures, return_tensors="pt").to(self.device)
        if hasattr(self.model, "get_image_features"):
            output = self.model.get_image_features(**inputs)
            return output if isinstance(output, torch.Tensor) else output.pooler_output
        # Not the pooler: DINO's checkpoints have none, and transformers would make up a random one.
        return self.model(**inputs).last_hidden_state[:, 0]


def load_encoder(encoder: str | Encoder, device: str | torch.device = "cpu") -> Encoder:
    """A callable as it is; a folder as a `TransformersEncoder`.

    Raises:
        SettingsError: if nothing was given.
        ModelError: if it cannot be loaded.
    """
    if callable(encoder):
        return encoder
    if not encoder:
        raise SettingsError(
            "Encoder methods need an encoder. Pass encoder='folder of a CLIP or DINO model' "
            "(--encoder on the command line) or a callable."
        )
    return TransformersEncoder(encoder, device)
