"""What all families have in common that denoise the latents of an autoencoder."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.codec import Codec
from creditline.diffusion.denoiser import Batch, NetworkDenoiser
from creditline.diffusion.encoding_cache import EncodingCache
from creditline.diffusion.encoding_config import EncodingConfig
from creditline.diffusion.process import DiscreteProcess, Process
from creditline.errors import ModelError
from creditline.settings import to_dict


class LatentDenoiser(NetworkDenoiser, ABC):
    """A network on latents, with the frozen parts of its pipeline that make them.

    A family says how its network is conditioned (`_embed`) and called (`_call`). Without an
    autoencoder a network of three channels is taken to work on pixels.

    Args:
        module: the network.
        process: what it was trained on.
        pipeline: the diffusers pipeline with its frozen parts; None: there are none.
        encoding: choices between pictures and tensors.
        source: where it came from, for manifests.

    Attributes:
        codec: the autoencoder; None on pixels.
        encoded: where latents and embeddings are kept once they are computed; None: nowhere.

    Raises:
        ModelError: if parts are missing, do not fit each other, or cannot take pictures of the
            size asked for.
    """

    pipelines: ClassVar[tuple[str, ...]] = ()
    networks: ClassVar[tuple[str, ...]] = ()
    part: ClassVar[str] = "unet"
    vae_part: ClassVar[str] = "vae"
    process_kind: ClassVar[Any] = DiscreteProcess
    patch = 1

    def __init__(
        self,
        module: Any,
        process: Process,
        pipeline: Any = None,
        encoding: EncodingConfig | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(module, process, source)
        self.pipeline = pipeline
        self.encoding = encoding or EncodingConfig()
        self.encoded: EncodingCache | None = None
        vae = getattr(pipeline, self.vae_part, None)
        choice = self.encoding
        self.codec = None if vae is None else Codec(vae, choice.vae, choice.vae_seed)
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
        sides = self._sides()
        if choice.side is not None:
            if choice.side % (factor * self.patch):
                raise ModelError(
                    f"The model takes pictures whose side is a multiple of {factor * self.patch} "
                    f"pixels; got {choice.side}."
                )
            sides = (choice.side // factor,) * 2
        self.sample_shape = (channels, *sides)
        self.image_shape = (3, sides[0] * factor, sides[1] * factor)

    @classmethod
    def require_pipeline(cls, name: str, pipeline: Any) -> None:
        """Refuse, before anything is loaded, a bare network that cannot do without its pipeline.

        Raises:
            ModelError: if `pipeline` is None and the family needs one.
        """

    @classmethod
    def bare(cls, module: Any, process: Process, sides: tuple[int, int] | None = None) -> Self:
        """A denoiser that can be called and encodes nothing, to reckon what its network costs.

        Args:
            module: the network.
            process: any.
            sides: height and width of what is noised; by default those of the network.
        """
        self = cls.__new__(cls)
        NetworkDenoiser.__init__(self, module, process)
        self.pipeline = self.codec = self.encoded = None
        self.encoding = EncodingConfig()
        height, width = sides or self._sides()
        self.sample_shape = self.image_shape = (self._channels(), height, width)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy of the network; its frozen parts are shared."""
        other = copy.copy(self)
        other.module = copy.deepcopy(self.module, memo)
        return other

    def encode(self, images: ImageSet, indices: Sequence[int]) -> Batch:
        x0 = torch.stack([self._latents(images, i) for i in indices])
        condition = self.conditions([self._wanted(images, i) for i in indices])
        return Batch(x0, condition, tuple(images.ids[i] for i in indices))

    def predict(self, x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        cast = {
            name: value.to(x_t.dtype) if value.is_floating_point() else value
            for name, value in condition.items()
        }
        return self._call(x_t, self.process.network_time(t), cast)

    def check(self, images: ImageSet) -> None:
        self._require_shape(images, self.image_shape)

    def conditions(self, wanted: Sequence[Any], guidance: float | None = None) -> dict[str, Tensor]:
        embedded: dict[Any, dict[str, Tensor]] = {}
        for one in wanted:
            if one not in embedded:
                embedded[one] = self._embedded(one)
        rows = [embedded[one] for one in wanted]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def unconditional(self, n: int, negative: str | None = None) -> dict[str, Tensor] | None:
        return None

    def decode(self, x0: Tensor) -> Tensor:
        return x0 if self.codec is None else self.codec.decode(x0)

    def encoders(self) -> dict[str, str]:
        """Fingerprints of everything that encodes, for `EncodingCache`."""
        return {} if self.codec is None else {"autoencoder": self.codec.fingerprint}

    def _wanted(self, images: ImageSet, i: int) -> Any:
        """The caption or class of a picture."""
        return None

    def _embed(self, wanted: Any) -> dict[str, Tensor]:
        """Conditioning tensors of a caption or class, without a batch dimension, on the CPU."""
        return {}

    def _embedded(self, wanted: Any) -> dict[str, Tensor]:
        return self._embed(wanted)

    @abstractmethod
    def _call(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        """The network's prediction."""

    def _channels(self) -> int:
        """Channels of what is noised; a network that predicts its variance too returns twice."""
        config = self.module.config
        returned = config.out_channels or config.in_channels
        if returned not in (config.in_channels, 2 * config.in_channels):
            raise ModelError(
                f"A denoiser returns as many channels as it takes; this one takes "
                f"{config.in_channels} and returns {returned}."
            )
        return config.in_channels

    def _sides(self) -> tuple[int, int]:
        """Height and width of what is noised."""
        size = self.module.config.sample_size
        if size is None and self.encoding.side is None:
            raise ModelError(
                "The model's config has no sample_size, so the size of its pictures is not known. "
                "Say it: side= (--side)."
            )
        height, width = size if isinstance(size, (tuple, list)) else (size or 0, size or 0)
        return height, width

    def _latents(self, images: ImageSet, i: int) -> Tensor:
        codec, key = self.codec, images.ids[i]
        if codec is None:
            return images.pixels([i])[0]

        def compute() -> dict[str, Tensor]:
            return {"x0": codec.encode(images.pixels([i])[0], key, self.device)}

        found = compute() if self.encoded is None else self.encoded.tensors("latents", key, compute)
        return found["x0"]

    def _about(self) -> dict[str, Any]:
        encoding = to_dict(self.encoding)
        return {**super()._about(), "encoders": self.encoders(), "encoding": encoding}


def mean_half(output: Tensor, channels: int) -> Tensor:
    """The predicted noise of a network that predicts its variance too."""
    return output if output.shape[1] == channels else output[:, :channels]
