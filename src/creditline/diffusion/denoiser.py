"""The denoiser: a network, its diffusion process, and how the network is called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from creditline import fingerprint
from creditline.data.image_set import ImageSet
from creditline.diffusion.encoding_cache import EncodingCache
from creditline.diffusion.process import Process
from creditline.diffusion.weights import fingerprint_weights
from creditline.errors import DataError, ModelError

if TYPE_CHECKING:
    from creditline.diffusion.sampler import Sampler


@dataclass(frozen=True)
class Batch:
    """Encoded images, as the network takes them.

    Attributes:
        x0: clean pixels or latents, shape `(b, *sample_shape)`.
        condition: conditioning tensors, each of shape `(b, ...)`.
        ids: content hash of each image.
    """

    x0: Tensor
    condition: dict[str, Tensor]
    ids: tuple[str, ...]


class Denoiser(ABC):
    """A network, the process it was trained on, and how to call it.

    A subclass sets the attributes without a default and implements `encode` and `predict`. It
    overrides the other methods where the network is conditional or works on latents.

    Attributes:
        module: the network.
        process: the diffusion process of its training.
        sample_shape: shape of one noised sample without the batch dimension: `(C, H, W)` for
            images or their latents, `(C, F, H, W)` for videos.
        image_shape: shape of one image, `(3, H, W)`.
        sampler: generates samples.
        source: the place it was loaded from, for manifests; None for an object in memory.
        n_classes: number of classes of a class-conditional network; None otherwise.
        takes_prompts: whether the network is conditional on text.
        default_guidance: classifier-free guidance scale of its pipeline.
        on_pixels: whether samples are pixels in [-1, 1]; latents have no bounds.
        trains_from_scratch: whether `TrainConfig` describes the network.
        options: further arguments with which `load_model` loads it again.
        encoding_cache: stores latents and text embeddings; None computes them every time.
    """

    module: Any
    process: Process
    sample_shape: tuple[int, ...]
    image_shape: tuple[int, int, int]
    sampler: Sampler
    source: str | None = None
    n_classes: int | None = None
    takes_prompts: bool = False
    default_guidance: float = 1.0
    on_pixels: bool = True
    trains_from_scratch: bool = False
    options: Mapping[str, Any] = MappingProxyType({})
    encoding_cache: EncodingCache | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of weights, configuration and process."""
        # Not cached: weights change in place. 120 million parameters take about a second.
        description = fingerprint.of_json(self._describe())
        return fingerprint.of_bytes(fingerprint_weights(self.module).encode(), description.encode())

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's parameters."""
        return next(self.module.parameters()).dtype

    @abstractmethod
    def encode(self, images: ImageSet, indices: Sequence[int]) -> Batch:
        """Encode some images of a set.

        Args:
            images: the set.
            indices: positions of the images.

        Returns:
            The images on the CPU, pixels or latents in float32.
        """

    @abstractmethod
    def predict(self, x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        """Predict the process's target from noised samples; differentiable.

        Args:
            x_t: noised samples, shape `(b, *sample_shape)`.
            t: timesteps, int64 of shape `(b,)`.
            condition: conditioning tensors, each of shape `(b, ...)`.

        Returns:
            A tensor of the shape of `x_t`.
        """

    def check(self, images: ImageSet) -> None:
        """Refuse images that the network does not take.

        Raises:
            ModelError: if they have another shape, or a class label is missing or unknown.
            DataError: if a prompt is missing or too long.
        """
        self.check_shape(images.shape)

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse images of a shape that the network does not take.

        Args:
            shape: channels, height and width.

        Raises:
            ModelError: saying what to do.
        """
        if tuple(shape) != self.image_shape:
            (c, h, w), channels = self.image_shape, shape[0]
            advice = f"Load them with size={h} (--size {h})."
            if channels != c:
                advice = f"Images are loaded with {channels} channels, whatever the model takes."
            elif h != w:
                advice = f"Bring them to {w}x{h} pixels first."
            raise ModelError(
                f"The model takes {c} channels of {h}x{w}; the images have shape {tuple(shape)}. "
                f"{advice}"
            )

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Refuse prompts that the text encoders cannot take.

        Raises:
            DataError: if a prompt is too long, or the model takes none.
        """
        if not self.takes_prompts and prompts:
            raise DataError(f"The model takes no prompts; got {prompts[0]!r}. Leave them out.")

    def condition_input(self, images: ImageSet, i: int) -> Any:
        """Return the class label or prompt of image `i`; None for an unconditional network."""
        return None

    def condition_inputs(self, images: ImageSet, i: int) -> Sequence[Any]:
        """Return the inputs that attribution averages over: all captions, or the only input."""
        several = images.captions[i] if self.takes_prompts and images.captions else None
        return (self.condition_input(images, i),) if several is None else several

    def encode_conditions(
        self, inputs: Sequence[Any], guidance: float | None = None
    ) -> dict[str, Tensor]:
        """Encode class labels or prompts.

        Args:
            inputs: class labels or prompts, one per row; None for an unconditional network.
            guidance: input of a network with a guidance embedding; None: the same as in `encode`.

        Returns:
            Conditioning tensors, each of shape `(len(inputs), ...)`.
        """
        return {}

    def encode_unconditional(
        self, n: int, negative_prompt: str | None = None
    ) -> dict[str, Tensor] | None:
        """Encode the unconditional input of classifier-free guidance.

        Args:
            n: number of rows.
            negative_prompt: replaces the empty prompt.

        Returns:
            Conditioning tensors, or None if the network has no unconditional input.
        """
        return None

    def decode(self, x0: Tensor) -> Tensor:
        """Decode clean samples to images, shape `(b, 3, H, W)`, approximately in [-1, 1]."""
        return x0

    def encoders(self) -> dict[str, str]:
        """Return the fingerprints of the frozen encoders, by name; empty if there are none."""
        return {}

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """Move the network.

        Raises:
            ModelError: if this machine has no such device.
        """
        self.module.to(find_device(device))
        # diffusers warns of every cast, even if it changes nothing.
        if dtype is not None and any(p.dtype != dtype for p in self.module.parameters()):
            self.module.to(dtype)
        return self

    def _describe(self) -> dict[str, Any]:
        """Return what determines predictions, besides the weights."""
        return {"process": self.process.to_dict()}


def find_device(device: torch.device | str) -> torch.device:
    """Return the device of a name.

    Raises:
        ModelError: if this machine has no such device.
    """
    try:
        place = torch.device(device)
        if place.type == "meta":  # computes shapes only
            raise RuntimeError("it holds no values")
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ModelError(
            f"Device {str(device)!r} cannot be used on this machine ({reason}). Try cpu."
        ) from error
    return place


def check_labels(labels: Sequence[int | None], n_classes: int) -> None:
    """Refuse class labels outside `0 .. n_classes - 1`.

    Raises:
        ModelError: if a label is missing or out of range.
    """
    invalid = [label for label in labels if label is None or not 0 <= label < n_classes]
    if invalid:
        raise ModelError(
            f"The model is conditional on {n_classes} classes, numbered from 0; {len(invalid)} of "
            f"{len(labels)} images have label {invalid[0]}. Give labels in metadata.csv, or by "
            "folder (labels='folder', --labels folder)."
        )
