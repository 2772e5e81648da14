"""The base of families that denoise the latents of an autoencoder."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.codec import Codec, KLCodec
from creditline.diffusion.denoiser import Batch
from creditline.diffusion.encoding_config import EncodingConfig
from creditline.diffusion.families.network import NetworkDenoiser, native_size
from creditline.diffusion.json_file import read_json
from creditline.diffusion.process import Process
from creditline.errors import ModelError
from creditline.settings import to_dict

DOWNSAMPLING = 8
"""Pixels per latent of an autoencoder without a config: that of most families."""


class LatentDenoiser(NetworkDenoiser):
    """A network on latents.

    A family implements `_forward`, and `_encode_condition` if it is conditional. A network of
    three channels without an autoencoder works on pixels.

    Args:
        module, process, pipeline, encoding, source: see `NetworkDenoiser`.

    Attributes:
        codec: the autoencoder; None on pixels.
        codec_class: how the family's autoencoder is called.
        vae_component: name of the autoencoder among the pipeline's components.
        patch_size: the size of latents along height and width is a multiple of it.

    Raises:
        ModelError: if components are missing, do not match, or cannot take images of the
            requested size.
    """

    codec_class: ClassVar[type[Codec]] = KLCodec
    vae_component: ClassVar[str] = "vae"
    patch_size: int = 1

    def __init__(
        self,
        module: Any,
        process: Process,
        pipeline: Any = None,
        encoding: EncodingConfig | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(module, process, pipeline, encoding, source)
        vae = getattr(pipeline, self.vae_component, None)
        choice = self.encoding
        self.codec = None if vae is None else self.codec_class(vae, choice.vae, choice.vae_seed)
        channels = self._channels()
        if channels != (3 if self.codec is None else self.codec.channels):
            kind = type(module).__name__
            raise ModelError(
                f"This {kind} works on {channels} channels and comes without an autoencoder. Give "
                "the pipeline that it belongs to (pipeline=, --pipeline), or its folder."
                if self.codec is None
                else f"This {kind} works on {channels} channels, the autoencoder makes "
                f"{self.codec.channels}. Use the autoencoder it was trained with."
            )
        factor = 1 if self.codec is None else self.codec.factor
        if choice.side is None:
            height, width = self._native_size()
        else:
            multiple = factor * self.patch_size
            if choice.side % multiple:
                raise ModelError(
                    f"The model takes images whose side is a multiple of {multiple} pixels; got "
                    f"{choice.side}."
                )
            height = width = choice.side // factor
        self.sample_shape = self._latent_shape(height, width)
        self.image_shape = (3, height * factor, width * factor)

    @property
    def on_pixels(self) -> bool:  # type: ignore[override]
        """Whether there is no autoencoder."""
        return self.codec is None

    @classmethod
    def for_estimates(
        cls, module: Any, process: Process, folder: Path, side: int | None = None
    ) -> Self:
        self = cls.__new__(cls)
        NetworkDenoiser.__init__(self, module, process)
        self.codec = None
        if side is None:
            height, width = self._native_size()
        else:
            height = width = side // cls._downsampling(folder)
        self.sample_shape = self._latent_shape(height, width)
        self.image_shape = (3, height, width)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy the network and share the frozen components."""
        other = copy.copy(self)
        other.module = copy.deepcopy(self.module, memo)
        return other

    def encode(self, images: ImageSet, indices: Sequence[int]) -> Batch:
        x0 = torch.stack([self._encode_image(images, i) for i in indices])
        condition = self.encode_conditions([self.condition_input(images, i) for i in indices])
        return Batch(x0, condition, tuple(images.ids[i] for i in indices))

    def predict(self, x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        cast = {
            name: value.to(x_t.dtype) if value.is_floating_point() else value
            for name, value in condition.items()
        }
        return self._forward(x_t, self.process.network_time(t), cast)

    def encode_conditions(
        self, inputs: Sequence[Any], guidance: float | None = None
    ) -> dict[str, Tensor]:
        encoded: dict[Any, dict[str, Tensor]] = {}
        for value in inputs:
            if value not in encoded:
                encoded[value] = self._cached_condition(value)
        rows = [encoded[value] for value in inputs]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def decode(self, x0: Tensor) -> Tensor:
        return x0 if self.codec is None else self.codec.decode(x0)

    def encoders(self) -> dict[str, str]:
        return {} if self.codec is None else {"autoencoder": self.codec.fingerprint}

    @abstractmethod
    def _forward(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        """Call the network.

        Args:
            x_t: noised samples.
            time: time input of the network, shape `(b,)`.
            condition: conditioning tensors in the type of `x_t`.
        """

    def _encode_condition(self, value: Any) -> dict[str, Tensor]:
        """Encode one prompt or class label; tensors without a batch dimension, on the CPU."""
        return {}

    def _cached_condition(self, value: Any) -> dict[str, Tensor]:
        return self._encode_condition(value)

    def _channels(self) -> int:
        """Return the channels of a sample; a network with predicted variances returns twice."""
        config = self.module.config
        returned = config.out_channels or config.in_channels
        if returned not in (config.in_channels, 2 * config.in_channels):
            raise ModelError(
                f"A denoiser returns as many channels as it takes; this one takes "
                f"{config.in_channels} and returns {returned}."
            )
        return config.in_channels

    def _native_size(self) -> tuple[int, int]:
        """Return height and width of the latents that the network was trained on."""
        return native_size(self.module.config, "Give it: side= (--side).")

    def _latent_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one sample."""
        return (self._channels(), height, width)

    @classmethod
    def _downsampling(cls, folder: Path) -> int:
        """Return the pixels per latent, from the config of the pipeline's autoencoder."""
        path = folder / cls.vae_component / "config.json"
        return cls.codec_class.downsampling(read_json(path)) if path.is_file() else DOWNSAMPLING

    def _encode_image(self, images: ImageSet, i: int) -> Tensor:
        codec, key = self.codec, images.ids[i]
        if codec is None:
            return images.pixels([i])[0]

        def compute() -> dict[str, Tensor]:
            return {"x0": codec.encode(images.pixels([i])[0], key, self.device)}

        cache = self.encoding_cache
        return (compute() if cache is None else cache.tensors("latents", key, compute))["x0"]

    def _describe(self) -> dict[str, Any]:
        encoding = to_dict(self.encoding)
        return {**super()._describe(), "encoders": self.encoders(), "encoding": encoding}


def drop_variance(output: Tensor, channels: int) -> Tensor:
    """Return the predicted noise of a network that may predict its variance too."""
    return output if output.shape[1] == channels else output[:, :channels]
