"""Embeddings of an image encoder as features: CLIP, DINO, or any callable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from PIL import Image

from creditline.data.image_set import ImageSet
from creditline.diffusion.adapter_files import PEFT_CONFIG
from creditline.diffusion.reason import shorten_reason
from creditline.diffusion.weight_files import WeightOptions, choose_variant
from creditline.errors import ModelError, SettingsError
from creditline.features.extractor import FeatureExtractor
from creditline.gradients.noise_plan import Reduction, Role
from creditline.runtime.threads import single_thread

if TYPE_CHECKING:
    from creditline.gradients.noised_batch import Trajectory

Encoder = Callable[[list[Image.Image]], Any]


class EncoderExtractor(FeatureExtractor):
    """Embeddings of images by `encoder`.

    Args:
        encoder: takes a list of RGB images and returns an array or tensor of shape `(b, k)`.
        dim: its embedding dimension; measured on a blank image if not given.

    Raises:
        ModelError: if the encoder returns another shape.
    """

    kind: ClassVar = "encoder"

    def __init__(self, encoder: Encoder, dim: int | None = None) -> None:
        self.encoder = encoder
        self.dim = dim or self._embed([Image.new("RGB", (32, 32))]).shape[1]

    def to_device(self, device: str) -> EncoderExtractor:
        """Move a loaded encoder to a device; a callable stays as it is."""
        if isinstance(self.encoder, TransformersEncoder):
            self.encoder.to(device)
        return self

    def check(self, images: ImageSet) -> None:
        """Raise if the images have masks; encoders resize images themselves.

        Raises:
            DataError: on masks.
        """
        images.require_no_masks("Encoder similarity")

    def extract(
        self,
        images: ImageSet,
        indices: Sequence[int],
        role: Role = "train",
        trajectories: Sequence[Trajectory | None] | None = None,
        reduction: Reduction = "mean",
    ) -> np.ndarray:
        """Return embeddings, float32 of shape `(b, 1, 1, k)`."""
        return self._embed([images.image(i) for i in indices])[:, None, None, :]

    def _embed(self, images: list[Image.Image]) -> np.ndarray:
        with single_thread():
            output = self.encoder(images)
        if isinstance(output, torch.Tensor):
            output = output.detach().float().cpu().numpy()
        array = np.asarray(output, dtype=np.float32)
        if array.ndim != 2 or len(array) != len(images):
            raise ModelError(
                f"An encoder returns one vector per image; for {len(images)} images it "
                f"returned shape {array.shape}. Pool and flatten its output to (images, k)."
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
        self.folder = folder
        place = Path(folder)
        is_local = place.is_dir()
        if is_local and (place / PEFT_CONFIG).exists():
            # transformers would load the base that it names, from anywhere.
            raise ModelError(f"{folder} holds an adapter ({PEFT_CONFIG}). Merge it first.")
        if is_local and not any(place.glob("*.safetensors")):
            raise ModelError(
                f"Cannot load an encoder from {folder!r}: it has no safetensors weights. Convert "
                "them, or give a folder that has them, with config.json and "
                "preprocessor_config.json."
            )
        variant = choose_variant(place, WeightOptions()) if is_local else None
        # Code of the folder's own is never run; without a value, transformers would ask.
        common = {"trust_remote_code": False, "local_files_only": is_local}
        try:
            # The PIL backend works without torchvision.
            self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **common)
            self.model = AutoModel.from_pretrained(
                folder, use_safetensors=True, variant=variant, **common
            )
        except Exception as error:  # transformers raises many kinds for damaged folders
            raise ModelError(
                f"Cannot load an encoder from {folder!r}: {shorten_reason(error)}. Give a folder "
                "with the model's config, safetensors weights and preprocessor_config.json, "
                "without code of its own."
            ) from error
        self.model.eval()
        self.to(device)

    def to(self, device: str | torch.device) -> None:
        """Move the model."""
        self.device = torch.device(device)
        self.model.to(self.device)

    @torch.no_grad()
    def __call__(self, images: list[Image.Image]) -> torch.Tensor:
        inputs = self.processor(images=images, return_tensors="pt").to(self.device)
        if hasattr(self.model, "get_image_features"):
            output = self.model.get_image_features(**inputs)
            return output if isinstance(output, torch.Tensor) else output.pooler_output
        # DINO checkpoints have no pooler, so transformers would initialize a random one.
        return self.model(**inputs).last_hidden_state[:, 0]


def load_encoder(encoder: str | Encoder, device: str | torch.device = "cpu") -> Encoder:
    """Return a callable unchanged, or load a folder as a `TransformersEncoder`.

    Args:
        encoder: a callable, or a folder or hub name.
        device: where a loaded encoder runs.

    Raises:
        SettingsError: if `encoder` is empty.
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
