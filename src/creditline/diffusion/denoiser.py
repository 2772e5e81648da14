"""Denoisers: one adapter per network family between images and the network's own arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from types import MappingProxyType
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from creditline import fingerprint
from creditline.data.image_set import ImageSet
from creditline.diffusion.adapters import described
from creditline.diffusion.process import Process
from creditline.diffusion.weights import fingerprint_of
from creditline.errors import ModelError


@dataclass(frozen=True)
class Batch:
    """Images as a denoiser is shown them.

    Attributes:
        x0: clean pixels or latents, shape `(b, C, H, W)`.
        condition: conditioning tensors, each of shape `(b, ...)`.
        ids: content hash of each image.
    """

    x0: Tensor
    condition: dict[str, Tensor]
    ids: tuple[str, ...]


@runtime_checkable
class Denoiser(Protocol):
    """A network, the process it was trained on, and how to call it.

    Attributes:
        sample_shape: of the tensors that are noised, `(C, H, W)`: pixels or latents.
        image_shape: of the pictures, `(3, H, W)`.
        n_classes: of a class-conditional network; None otherwise.
        takes_prompts: whether it is conditional on text.
        usual_guidance: scale of classifier-free guidance that its pipeline samples with.
        options: what `load_model` has to be told besides the source to make it again.
    """

    module: nn.Module
    process: Process
    sample_shape: tuple[int, int, int]
    image_shape: tuple[int, int, int]
    source: str | None
    n_classes: int | None
    takes_prompts: bool
    usual_guidance: float
    options: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of weights, configuration and process."""

    @property
    def device(self) -> torch.device:
        """Where the network is."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of its parameters."""

    def encode(self, images: ImageSet, indices: Sequence[int]) -> Batch:
        """Some images of a set, on the CPU; pixels and latents in float32."""

    def predict(self, x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        """The network's own prediction, differentiable, of the shape of `x_t`."""

    def check(self, images: ImageSet) -> None:
        """Raise `ModelError` or `DataError` if images do not fit."""

    def conditions(self, wanted: Sequence[Any], guidance: float | None = None) -> dict[str, Tensor]:
        """Conditioning of classes or prompts, one for each row.

        Args:
            wanted: class numbers or prompts; None where the network takes neither.
            guidance: what a network with a guidance embedding is told; None: as in `encode`.
        """

    def unconditional(self, n: int, negative: str | None = None) -> dict[str, Tensor] | None:
        """Conditioning of the other side of classifier-free guidance; None: there is none.

        Args:
            n: rows.
            negative: a prompt to be led away from, instead of the empty one.
        """

    def decode(self, x0: Tensor) -> Tensor:
        """Pictures, about [-1, 1], of clean pixels or latents."""

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """Move the network.

        Raises:
            ModelError: if this machine has no such device.
        """


class NetworkDenoiser:
    """What the adapters of diffusers' networks share: identity and place.

    Args:
        module: the network; put into eval mode.
        process: what it was trained on.
        source: where it came from, for manifests.
    """

    takes_prompts = False
    usual_guidance = 1.0
    n_classes: int | None = None
    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, module: Any, process: Process, source: str | None = None) -> None:
        self.module: Any = module.eval()
        self.process = process
        self.source = source

    @property
    def fingerprint(self) -> str:
        # Never cached: weights change in place. 120 million parameters take about a second.
        about = fingerprint.of_json(self._about())
        return fingerprint.of_bytes(fingerprint_of(self.module).encode(), about.encode())

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.module.parameters()).dtype

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        self.module.to(find_device(device))
        # diffusers warns of every cast, even of one that changes nothing.
        if dtype is not None and any(p.dtype != dtype for p in self.module.parameters()):
            self.module.to(dtype)
        return self

    def _about(self) -> dict[str, Any]:
        """What decides predictions besides the weights."""
        about: dict[str, Any] = {"config": self._config(), "process": self.process.to_dict()}
        adapters = described(self.module)
        return {**about, "adapters": adapters} if adapters else about

    def _config(self) -> dict[str, Any]:
        """Settings of the network that differ from diffusers' defaults.

        Later versions of diffusers add settings; at their defaults they change nothing.
        """
        parameters = signature(type(self.module).__init__).parameters.values()
        defaults = _plain({p.name: p.default for p in parameters if p.default is not p.empty})
        config = _plain({k: v for k, v in self.module.config.items() if not k.startswith("_")})
        return {
            key: value
            for key, value in config.items()
            if key not in defaults or value != defaults[key]
        }

    def _require_shape(self, images: ImageSet, shape: tuple[int, int, int]) -> None:
        """Refuse pictures of another shape than the network takes."""
        if images.shape != shape:
            c, h, w = shape
            raise ModelError(
                f"The model takes {c} channels of {h}x{w}; the images have shape {images.shape}. "
                f"Load them with size={h} (--size {h})."
            )


class UNetDenoiser(NetworkDenoiser):
    """A diffusers `UNet2DModel` on pixels, unconditional or class-conditional.

    Args:
        module: the network; put into eval mode.
        process: what it was trained on.
        source: where it came from, for manifests.

    Raises:
        ModelError: if its input and output channels differ, its picture size is not recorded, or
            it is conditional on something other than a class index.
    """

    def __init__(self, module: Any, process: Process, source: str | None = None) -> None:
        config = module.config
        if config.in_channels != config.out_channels:
            raise ModelError(
                f"A denoiser returns as many channels as it takes; this one takes "
                f"{config.in_channels} and returns {config.out_channels}."
            )
        if config.get("class_embed_type") is not None:
            raise ModelError(
                f"Class embeddings of type {config.class_embed_type!r} are not supported, only "
                "those of a class index (num_class_embeds)."
            )
        size = config.sample_size
        if size is None:
            raise ModelError(
                "The model's config has no sample_size, so the size of its pictures is not known. "
                "Set it in config.json to the side in pixels."
            )
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        super().__init__(module, process, source)
        self.sample_shape = self.image_shape = (config.in_channels, height, width)
        embeddings = config.get("num_class_embeds")
        self.n_classes = int(embeddings) if embeddings is not None else None

    def encode(self, images: ImageSet, indices: Sequence[int]) -> Batch:
        labels = [images.labels[i] for i in indices] if self.n_classes is not None else None
        return self.batch(images.pixels(indices), [images.ids[i] for i in indices], labels)

    def batch(
        self, x0: Tensor, ids: Sequence[str], labels: Sequence[int | None] | None = None
    ) -> Batch:
        """A batch of tensors that are not in an image set.

        Args:
            x0: pixels in [-1, 1], shape `(b, C, H, W)`.
            ids: what keys their noise.
            labels: class of each, for class-conditional networks.

        Raises:
            ModelError: if a class is missing or unknown.
        """
        if self.n_classes is None:
            return Batch(x0, {}, tuple(ids))
        check_labels(labels or [None], self.n_classes)
        return Batch(x0, {"class_labels": torch.tensor(labels)}, tuple(ids))

    def conditions(self, wanted: Sequence[Any], guidance: float | None = None) -> dict[str, Tensor]:
        return {} if self.n_classes is None else {"class_labels": torch.tensor(list(wanted))}

    def unconditional(self, n: int, negative: str | None = None) -> dict[str, Tensor] | None:
        return None

    def decode(self, x0: Tensor) -> Tensor:
        return x0

    def predict(self, x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return self.module(x_t, t, **condition).sample

    def check(self, images: ImageSet) -> None:
        self._require_shape(images, self.sample_shape)
        if self.n_classes is not None:
            check_labels(images.labels, self.n_classes)


def find_device(device: torch.device | str) -> torch.device:
    """The device of a name.

    Raises:
        ModelError: if this machine has no such device.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ModelError(
            f"Device {str(device)!r} cannot be used on this machine ({reason}). Try cpu."
        ) from error
    return found


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """A config as it is when read from a file: lists, no tuples."""
    return json.loads(json.dumps(config))


def check_labels(labels: Sequence[int | None], classes: int) -> None:
    """Refuse class labels that a model of `classes` classes does not know.

    Raises:
        ModelError: if a label is missing or not in `0 .. classes - 1`.
    """
    wrong = [x for x in labels if x is None or not 0 <= x < classes]
    if wrong:
        raise ModelError(
            f"The model is conditional on {classes} classes, numbered from 0; {len(wrong)} of "
            f"{len(labels)} images have label {wrong[0]}. Give labels in metadata.csv, or by "
            "folder (labels='folder', --labels folder)."
        )
