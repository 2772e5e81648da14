"""Gradient features of image sets: engine and projection together, for one or several models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.encoding_cache import EncodingCache
from creditline.diffusion.inference_mode import require_gradients
from creditline.errors import ModelError
from creditline.features.curvature_fit import CurvatureFit
from creditline.features.extractor import FeatureExtractor
from creditline.features.gradient_state import GradientState, select_prefix, share_layout
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.caption_turns import expand_images, require_complete_turns
from creditline.gradients.engine import Engine
from creditline.gradients.engine_choice import choose_engine, is_streamed, make_engine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan, Reduction, Role
from creditline.gradients.noised_batch import NoisedBatch, Trajectory, expand
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import select_layers
from creditline.gradients.pass_size import largest_pass
from creditline.gradients.preconditioning.transform import GradientTransform
from creditline.gradients.projection import Block
from creditline.gradients.projection.layout import feature_dim
from creditline.gradients.projection.projector import Projector
from creditline.gradients.projection.rotation import RandomRotation
from creditline.gradients.projection.state import rows_to_fit
from creditline.gradients.projection.two_sided import kept_sizes
from creditline.gradients.spec import FeatureSpec
from creditline.gradients.split_half import half_sizes, mean_and_error
from creditline.runtime import ProgressTask, Runtime
from creditline.runtime.allocator import keep_freed_memory
from creditline.runtime.determinism import exact_kernels
from creditline.runtime.threads import single_thread
from creditline.settings import require
from creditline.units import bytes_of

ONE_EVALUATION = NoisePlan("random", timesteps=1)
WAITING_ON_CPU, WAITING_ELSEWHERE = 1 << 28, 1 << 31
"""Most bytes of explicit gradients that are held before they are projected."""


class GradientExtractor(FeatureExtractor):
    """Projected gradients.

    Args:
        denoisers: models of one architecture: one, several checkpoints, or an ensemble. All share
            the projection, so that features of one image are comparable across models.
        spec: objective, noise plan, parameters, projection.
        query_plan: noise plan of queries if it differs from that of training images.
        query_measure: objective of queries, likewise.

    Attributes:
        layers: the selected parameters, by module.
        engines: one per model; empty before a fit that the features need.
        projector: the first model's projection.
        states: what was fitted to training images, one per model; empty before.

    Raises:
        ModelError: if the models differ in their parameters.
        SettingsError: if the projection does not fit.
    """

    kind: ClassVar = "gradients"

    def __init__(
        self,
        denoisers: Sequence[Denoiser],
        spec: FeatureSpec,
        query_plan: NoisePlan | None = None,
        query_measure: Objective | None = None,
    ) -> None:
        self.denoisers = tuple(denoisers)
        self.spec = spec
        self.query_plan = query_plan or spec.plan
        self.query_measure = query_measure or spec.objective
        self.layers = select_layers(self.denoisers[0].module, spec.parameters)
        for other in self.denoisers[1:]:
            if select_layers(other.module, spec.parameters) != self.layers:
                raise ModelError(
                    f"Models must share one architecture; {other.source} has other parameters "
                    f"than {self.denoisers[0].source}. Index them separately."
                )
        self.parameters = sum(layer.size for layer in self.layers)
        self.dim = feature_dim(spec.projection, self.layers)
        self.models = len(self.denoisers)
        self.has_halves = spec.has_halves
        self.bits = (spec.bits,)
        self._rotation = None if spec.bits == 16 else self._make_rotation()
        self.has_curvature = spec.preconditioning.is_active
        self.needs_fit = spec.needs_fit
        self.states: tuple[GradientState, ...] = ()
        self.engines: tuple[Engine, ...] = ()
        self._sized: list[Engine] = []
        if not self.needs_fit:
            self._use([GradientState()] * self.models)

    def _make_rotation(self) -> RandomRotation:
        per_byte, settings = 8 // self.spec.bits, self.spec.projection
        require(
            self.dim % per_byte == 0,
            f"With bits={self.spec.bits} the dimension is a multiple of {per_byte}",
            self.dim,
            "Choose another dim, best a power of two (--dim 65536), or bits=16 (--bits 16).",
        )
        return RandomRotation(self.dim, settings.projection_seed)

    def to_device(self, device: str) -> GradientExtractor:
        """Move the models to a device."""
        for denoiser in self.denoisers:
            denoiser.to(device)
        return self

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.projector.blocks if self.engines else ()

    def check(self, images: ImageSet) -> None:
        """Raise before long work if images, noise plan or engine do not fit the models.

        An extractor that needs a fit has no engines before it; call this again afterwards.

        Raises:
            CreditlineError: if something does not fit.
        """
        if images.masks is not None:
            self.spec.objective.require_maskable()
            self.query_measure.require_maskable()
        require_gradients(*(denoiser.module for denoiser in self.denoisers))
        for denoiser in self.denoisers:
            denoiser.check(images)
            self._require_pixels(denoiser)
            self.spec.plan.grid(denoiser.process.n_timesteps, "train", "")
            if self.query_plan.schedule != "trajectory":
                self.query_plan.grid(denoiser.process.n_timesteps, "query", "")
            require_complete_turns(denoiser, images, self.spec.plan)
        for engine in self.engines:
            self._prepare(engine, images)

    def _prepare(self, engine: Engine, images: ImageSet) -> None:
        """Size the passes of an engine for some images, and verify hooks; once.

        Raises:
            ModelError: if hooks do not fit the model.
        """
        with single_thread(), self._exact_kernels():
            batch = engine.denoiser.encode(images, [0])
            self.size_passes(engine, expand(engine.denoiser, batch, ONE_EVALUATION, "train")[0])
            if isinstance(engine, HookEngine):
                engine.verify(batch)

    def _require_pixels(self, denoiser: Denoiser) -> None:
        """Refuse to mirror latents, which are not the latents of mirrored images."""
        require(
            not (self.spec.plan.mirror and denoiser.encoders()),
            "Only images of models on pixels are mirrored: latents of a mirrored image are others",
            "mirror=True",
            "Leave mirror out (--no-mirror).",
        )

    def fit(
        self, images: ImageSet, runtime: Runtime | None = None, folder: Path | None = None
    ) -> None:
        """Fit preconditioner and projection to the training images, if they depend on them.

        The curvature of a preconditioner is estimated from evaluations of its own. A projection is
        fitted to some images, spread evenly over the set, with their noise of the index.
        """
        if not self.needs_fit:
            return
        runtime = runtime or Runtime()
        curvature = CurvatureFit(self.spec, self.layers, self._prepare)
        preconditioners = curvature.preconditioners(self.denoisers, images, runtime, folder)
        states = []
        bar = runtime.progress("fit", self.models * self.images_to_fit(len(images)), "gradient")
        with single_thread(), self._exact_kernels(), bar:
            for denoiser, preconditioner in zip(self.denoisers, preconditioners, strict=True):
                engine = make_engine(AutogradEngine, self.spec, denoiser, self.layers, None)
                noised = partial(self._noised_training_images, engine, images, bar)
                states.append(GradientState.fit(self.spec, engine, preconditioner, noised))
        self._use(states)

    def images_to_fit(self, n: int) -> int:
        """Count the training images that a projection is fitted to."""
        projection = self.spec.projection
        return len(rows_to_fit(n, projection.learn_from)) if projection.needs_fit else 0

    def state(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for c, one in enumerate(self.states):
            arrays |= {f"{c}/{name}": array for name, array in one.arrays().items()}
        return arrays

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        each = [select_prefix(arrays, f"{c}/") for c in range(self.models)]
        self._use([GradientState.from_arrays(own, self.spec, self.layers) for own in each])

    @contextmanager
    def caching(self, folder: Path) -> Iterator[None]:
        """Compute latents and text embeddings once and keep them in a folder meanwhile.

        Raises:
            IndexMismatchError: if it holds those of another autoencoder or text encoder.
        """
        latent = [denoiser for denoiser in self.denoisers if denoiser.encoders()]
        try:
            for denoiser in latent:
                denoiser.encoding_cache = EncodingCache(folder, denoiser.encoders())
            yield
        finally:
            for denoiser in latent:
                denoiser.encoding_cache = None

    def extract(
        self,
        images: ImageSet,
        indices: Sequence[int],
        role: Role = "train",
        trajectories: Sequence[Trajectory | None] | None = None,
        reduction: Reduction = "mean",
    ) -> np.ndarray:
        """Compute features of some images; see `FeatureExtractor.extract`.

        The second feature of `reduction="halves"` is half the difference of two features that
        share no noise, scaled to the standard error that noise leaves in the mean.

        Raises:
            SettingsError: before the projection is fitted, if it depends on training images.
            NumericsError: if a gradient is not finite.
        """
        require(
            len(self.engines) > 0,
            "These features depend on the training images and are not fitted",
            self.spec.projection.projection,
            "Call fit(training images) first.",
        )
        plan = self.spec.plan if role == "train" else self.query_plan
        per_model = []
        with single_thread(), self._exact_kernels(), keep_freed_memory():
            for engine, transform in self._passes(role):
                noised = expand_images(engine.denoiser, images, indices, plan, role, trajectories)
                self.size_passes(engine, noised[0])
                per_model.append(self._project(engine, transform, noised, reduction))
        return np.stack(per_model, axis=2)

    def _passes(self, role: Role) -> list[tuple[Engine, GradientTransform | None]]:
        """Return engine and transform of each model's features."""
        engines = self.engines if role == "train" else self._query_engines
        return list(zip(engines, self._transforms, strict=True))

    def batch(self, evaluations: int) -> int:
        """Return how many images, of that many evaluations each, are best extracted at once."""
        passes = max(engine.batch(evaluations) for engine in self.engines)
        if not is_streamed(self.spec, self.projector):
            two_sided = self.engines[0].two_sided
            weights = None if two_sided is None else two_sided.weights
            each = 4 * 2 * sum(kept_sizes(self.layers, weights))  # halves, float32
            on_cpu = self.denoisers[0].device.type == "cpu"
            passes = min(passes, (WAITING_ON_CPU if on_cpu else WAITING_ELSEWHERE) // each)
        return max(self.projector.batch, passes)

    def size_passes(self, engine: Engine, noised: NoisedBatch) -> None:
        """Give an engine the largest passes that memory allows; later calls do nothing.

        Args:
            engine: one of `engines`.
            noised: any evaluation of an image.

        Raises:
            SettingsError: if not even one evaluation fits.
        """
        if engine not in self._sized:
            if self.spec.batch_size is None:
                engine.microbatch = largest_pass(engine, noised, bytes_of(self.spec.pass_memory))
            self._sized.append(engine)

    def gradients(self, model: int, images: ImageSet, indices: Sequence[int]) -> list[Tensor]:
        """Compute explicit gradients of query images, neither preconditioned nor projected.

        Args:
            model: number of the model.
            images: the query images.
            indices: positions in it.

        Returns:
            One float32 tensor of shape `(b, d_l)` per layer, on the CPU.

        Raises:
            NumericsError: if a gradient is not finite.
        """
        engine = self._query_engines[model]
        with single_thread(), self._exact_kernels(), keep_freed_memory():
            noised = expand_images(engine.denoiser, images, indices, self.query_plan, "query")
            self.size_passes(engine, noised[0])
            return [layer[:, 0].cpu() for layer in engine.gradients(noised)]

    def _exact_kernels(self) -> AbstractContextManager[None]:
        return exact_kernels(self.denoisers[0].device, self.spec.precision == "tf32")

    def _use(self, states: Sequence[GradientState]) -> None:
        """Make the engines of all models; their projections differ only in what engines apply."""
        self.states = share_layout(states)
        settings = self.spec.projection
        shared = None if settings.needs_fit else settings.build(self.layers)
        projectors: list[Projector] = [
            shared or settings.build(self.layers, one.projection) for one in self.states
        ]
        self.projector = projectors[0]
        self.engines = tuple(
            choose_engine(self.spec, denoiser, self.layers, projector)
            for denoiser, projector in zip(self.denoisers, projectors, strict=True)
        )
        self._query_engines = tuple(engine.measuring(self.query_measure) for engine in self.engines)
        self._transforms = [
            None
            if one.preconditioner is None
            else GradientTransform(one.preconditioner, projector.two_sided)
            for one, projector in zip(self.states, projectors, strict=True)
        ]

    def _noised_training_images(
        self, engine: Engine, images: ImageSet, bar: ProgressTask, count: int
    ) -> Iterator[NoisedBatch]:
        """Yield training images from all over the set, one after another."""
        for i in rows_to_fit(len(images), count):
            (noised,) = expand_images(engine.denoiser, images, [int(i)], self.spec.plan, "train")
            self.size_passes(engine, noised)
            yield noised
            bar.advance()

    def _project(
        self,
        engine: Engine,
        transform: GradientTransform | None,
        noised: Sequence[NoisedBatch],
        reduction: Reduction,
    ) -> np.ndarray:
        """Compute features of shape `(b, units, k)` under one model."""
        features: list[Tensor] = []
        size = self.batch(len(noised[0].t))
        for start in range(0, len(noised), size):
            group = noised[start : start + size]
            projected = engine.features(group, reduction, self.projector, transform)
            if self._rotation is not None:
                projected = self._rotation(projected.flatten(0, 1)).view(projected.shape)
            features.append(projected.cpu())
        array = torch.cat(features).numpy()
        if reduction != "halves":
            return array
        return mean_and_error(array, half_sizes(noised, self.spec.normalize))
