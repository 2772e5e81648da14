"""The subject of an examination: a model, a few images, and their noised batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.errors import ModelError
from creditline.features.gradients import GradientExtractor
from creditline.gradients.engine import Engine
from creditline.gradients.noised_batch import NoisedBatch, expand


@dataclass(frozen=True)
class DiagnosisSubject:
    """Model and images of the gradient checks.

    Attributes:
        denoiser: the model in its original state.
        reference: a copy in float64 on the CPU.
        source: extracts features with the settings of the examination.
        engine: its gradient engine.
        images: a few images that fit the model.
        probes: noised batches of these images.
        reference_probes: the same in float64.
    """

    denoiser: Denoiser
    reference: Denoiser
    source: GradientExtractor
    engine: Engine
    images: ImageSet
    probes: list[NoisedBatch]
    reference_probes: list[NoisedBatch]

    @classmethod
    def prepare(
        cls, denoiser: Denoiser, source: GradientExtractor, images: ImageSet
    ) -> DiagnosisSubject:
        """Copy the model and expand the images."""
        reference = copy.deepcopy(denoiser).to("cpu")
        reference.module.double()
        batch = denoiser.encode(images, range(len(images)))
        plan = source.spec.plan
        engine = source.engines[0]
        probes, exact = (
            [probe.to(one.device, one.dtype) for probe in expand(one, batch, plan, "train")]
            for one in (denoiser, reference)
        )
        source.size_passes(engine, probes[0])  # passes of the size that an index would use
        return cls(denoiser, reference, source, engine, images, probes, exact)


def random_images(denoiser: Denoiser, n: int) -> ImageSet:
    """Make random images of a model's shape, with class labels or prompts where it takes them.

    Raises:
        ModelError: if the model does not take three channels.
    """
    channels, height, width = denoiser.image_shape
    if channels != 3:
        raise ModelError(
            f"Images have three channels, red, green and blue; this model takes {channels}."
        )
    pixels = np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    labels = None if denoiser.n_classes is None else [i % denoiser.n_classes for i in range(n)]
    texts = [f"image {i}" for i in range(n)] if denoiser.takes_prompts else None
    return ImageSet.from_images(pixels, labels=labels, texts=texts, source="random images")


@contextmanager
def preserve_state(module: nn.Module) -> Iterator[None]:
    """Restore buffers (running statistics, say), gradients and torch's random state afterwards."""
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            yield
    finally:
        with torch.no_grad():
            for name, value in module.named_buffers():
                value.copy_(buffers[name])
