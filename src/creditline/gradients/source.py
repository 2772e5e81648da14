"""Gradient features of image sets: engine and projection joined, for one or several models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.encoding_cache import EncodingCache
from creditline.diffusion.families import LatentDenoiser
from creditline.errors import ModelError
from creditline.gradients.autograd import AutogradEngine
from creditline.gradients.engine import Engine, Reduction
from creditline.gradients.hooks import HookEngine
from creditline.gradients.learnt import ProjectionState, learn, looked_at
from creditline.gradients.memory import fitting
from creditline.gradients.parameters import select
from creditline.gradients.plan import NoisePlan, Role
from creditline.gradients.probe import NoisedBatch, Trajectory, expand
from creditline.gradients.projection import Projector, build, dimension
from creditline.gradients.projection.base import StreamingProjector
from creditline.gradients.sides import TwoSidedProjection, kept_sizes
from creditline.gradients.spec import FeatureSpec
from creditline.runtime import ProgressTask, Runtime
from creditline.runtime.allocator import keep_freed_memory
from creditline.runtime.determinism import exact_kernels
from creditline.runtime.threads import single_thread
from creditline.settings import require
from creditline.units import bytes_of

ANY = NoisePlan("random", timesteps=1)
E = TypeVar("E", bound=Engine)
MANY = 16
"""Evaluations of a gradient that fill a pass of their own well enough on a CPU."""
SMALL = 1 << 22
"""Parameters whose whole gradients are cheap to hold for all images of a pass."""
WAITING_ON_CPU, WAITING_ELSEWHERE = 1 << 28, 1 << 31
"""Most bytes of gradients that wait for their projection."""


class GradientSource:
    """Extracts projected gradients.

    Args:
        denoisers: models of one architecture: one, several checkpoints, or an ensemble. All share
            the projection, as features of one image must be comparable across them.
        spec: objective, noise plan, parameters, projection.
        query_plan: noise plan of queries where it differs from that of training images.

    Attributes:
        dim: feature dimension k.
        models: number of models C.
        learns: whether the projection depends on the training images; then `learn` or `use` comes
            before everything that takes a gradient.
        learnt: what was learnt, one per model; empty otherwise.
        engines: one per model.
        halves: whether features come with the error that their noise leaves.
        parts: what `extract` is asked for by an index.

    Raises:
        ModelError: if the models differ in their parameters.
        SettingsError: if the projection does not fit.
    """

    def __init__(
        self,
        denoisers: Sequence[Denoiser],
        spec: FeatureSpec,
        query_plan: NoisePlan | None = None,
    ) -> None:
        self.denoisers = tuple(denoisers)
        self.spec = spec
        self.query_plan = query_plan or spec.plan
        self.layers = select(self.denoisers[0].module, spec.parameters)
        for other in self.denoisers[1:]:
            if select(other.module, spec.parameters) != self.layers:
                raise ModelError(
                    f"Models must share one architecture; {other.source} has other parameters "
                    f"than {self.denoisers[0].source}. Index them separately."
                )
        self.parameters = sum(layer.size for layer in self.layers)
        self.dim = dimension(spec.projection, self.layers)
        self.models = len(self.denoisers)
        self.halves = spec.has_halves
        self.parts: Reduction = "halves" if self.halves else "whole"
        self.learns = spec.projection.learns
        self.learnt: tuple[ProjectionState, ...] = ()
        self.engines: tuple[Engine, ...] = ()
        self._fitted: list[Engine] = []
        if not self.learns:
            self._equip([build(spec.projection, self.layers)] * self.models)

    def check(self, images: ImageSet) -> None:
        """Raise before long work if images, noise plan or engine do not fit the models.

        Where the projection learns, engines are looked at once that is done.
        """
        if images.masks is not None:
            self.spec.objective.require_maskable()
        for denoiser in self.denoisers:
            denoiser.check(images)
            self.spec.plan.grid(denoiser.process.n_timesteps, "train", "")
        with single_thread(), self._exact():
            for engine in self.engines:
                one = engine.denoiser.encode(images, [0])
                self.fit(engine, expand(engine.denoiser, one, ANY, "train")[0])
                if isinstance(engine, HookEngine):
                    engine.verify(one)

    def learn(self, images: ImageSet) -> None:
        """Learn what the projection needs to know of the training images, if anything.

        Some images from all over the set are looked at, each with its own noise of the index.
        """
        if not self.learns:
            return
        chosen = looked_at(len(images), self.spec.projection.learn_from)
        learnt = []
        bar = Runtime().progress("learn", self.models * len(chosen), "gradient")
        with single_thread(), self._exact(), bar:
            for denoiser in self.denoisers:
                engine = self._made(AutogradEngine, denoiser, None)
                found = self._one_by_one(engine, images, chosen, bar)
                learnt.append(learn(self.layers, self.spec.projection.rank, found))
        self.use(learnt)

    def use(self, learnt: Sequence[ProjectionState]) -> None:
        """Take what was learnt before, one for each model; they share the layout."""
        shares = np.stack([one.variances / (one.variances.sum() or 1.0) for one in learnt])
        self.learnt = tuple(replace(one, variances=shares.mean(0)) for one in learnt)
        self._equip([build(self.spec.projection, self.layers, one) for one in self.learnt])

    @contextmanager
    def keeping(self, folder: Path) -> Iterator[None]:
        """Meanwhile latents and text embeddings are computed once and kept in a folder.

        Raises:
            IndexMismatchError: if it holds those of another autoencoder or text encoder.
        """
        latent = [x for x in self.denoisers if isinstance(x, LatentDenoiser) and x.encoders()]
        try:
            for denoiser in latent:
                denoiser.encoded = EncodingCache(folder, denoiser.encoders())
            yield
        finally:
            for denoiser in latent:
                denoiser.encoded = None

    def extract(
        self,
        images: ImageSet,
        indices: Sequence[int],
        role: Role = "train",
        trajectories: Sequence[Trajectory | None] | None = None,
        parts: Reduction = "whole",
    ) -> np.ndarray:
        """Features of some images.

        Args:
            images: the set.
            indices: positions in it.
            role: side of the attribution; decides plan and noise.
            trajectories: sampling runs of those positions, for a `trajectory` plan.
            parts: one feature of each image, one of each timestep, or two: the feature, and what
                the halves of its noise differ by, scaled to be as large as the error that noise
                leaves in the feature.

        Returns:
            float32 of shape `(b, units, C, k)`.
        """
        require(
            len(self.engines) > 0,
            "This projection depends on the training images, from which nothing was learnt",
            self.spec.projection.projection,
            "Call learn(training images) first.",
        )
        plan = self.spec.plan if role == "train" else self.query_plan
        per_model = []
        with single_thread(), self._exact(), keep_freed_memory():
            for engine in self.engines:
                probes = _probes(engine.denoiser, images, indices, plan, role, trajectories)
                self.fit(engine, probes[0])
                per_model.append(self._project(engine, probes, parts))
        return np.stack(per_model, axis=2)

    def batch(self, evaluations: int) -> int:
        """How many images, of so many evaluations each, are best handed over at once."""
        passes = max(engine.batch(evaluations) for engine in self.engines)
        if not self._streams(self.projector):
            each = 4 * 2 * sum(kept_sizes(self.layers, self.projector.sides))  # halves, float32
            on_cpu = self.denoisers[0].device.type == "cpu"
            passes = min(passes, (WAITING_ON_CPU if on_cpu else WAITING_ELSEWHERE) // each)
        return max(self.projector.batch, passes)

    def _streams(self, projector: Projector) -> bool:
        """Whether gradients are projected as they come, instead of waiting for each other."""
        return isinstance(projector, StreamingProjector) and self.spec.normalize == "none"

    def _exact(self) -> AbstractContextManager[None]:
        return exact_kernels(self.denoisers[0].device, self.spec.precision == "tf32")

    def _equip(self, projectors: Sequence[Projector]) -> None:
        """Engines of all models. Projectors differ in their sides alone, which engines apply."""
        self.projector = projectors[0]
        self.engines = tuple(map(self._engine, self.denoisers, projectors))

    def _engine(self, denoiser: Denoiser, projector: Projector) -> Engine:
        """The engine asked for; by itself the cheaper one, as `tools/bench.py` has measured them.

        Hooks, where sides spare them the weights' gradients. On a CPU whole ones are better left to
        autograd unless passes of one gradient alone would be thin, and several need not wait for
        each other or are small; to a GPU every pass of one gradient is thin. What hooks leave to
        autograd they take one gradient at a time, too.
        """
        spec, sides = self.spec, projector.sides
        small = self._streams(projector) or self.parameters <= SMALL
        small = small and self._evaluations() < MANY
        small = small or denoiser.device.type != "cpu"
        if spec.engine == "hooks" or (spec.engine == "auto" and (sides is not None or small)):
            hooks = self._made(HookEngine, denoiser, sides)
            if spec.engine == "hooks" or sides is not None or not hooks.rest:
                return hooks
        return self._made(AutogradEngine, denoiser, sides)

    def _evaluations(self) -> int:
        """Of each gradient that has to be taken by itself."""
        plan = self.spec.plan
        if self.spec.normalize == "timestep":
            return plan.draws
        return plan.evaluations // (1 + self.halves)

    def _made(self, kind: type[E], denoiser: Denoiser, sides: TwoSidedProjection | None) -> E:
        spec = self.spec
        settings = spec.objective, spec.normalize, sides, spec.batch_size or 1, spec.precision
        return kind(denoiser, self.layers, *settings)

    def fit(self, engine: Engine, probe: NoisedBatch) -> None:
        """Give an engine as large passes as memory allows, once.

        Args:
            engine: one of `engines`.
            probe: any evaluation of an image.

        Raises:
            SettingsError: if not even one evaluation fits.
        """
        if engine not in self._fitted:
            if self.spec.batch_size is None:
                engine.microbatch = fitting(engine, probe, bytes_of(self.spec.pass_memory))
            self._fitted.append(engine)

    def _one_by_one(
        self, engine: Engine, images: ImageSet, chosen: np.ndarray, bar: ProgressTask
    ) -> Iterator[list[Tensor]]:
        """The gradient of one training image after another, flat by layer."""
        for i in chosen:
            probes = _probes(engine.denoiser, images, [int(i)], self.spec.plan, "train")
            self.fit(engine, probes[0])
            yield [layer[0, 0] for layer in engine.gradients(probes)]
            bar.advance()

    def _project(
        self, engine: Engine, probes: Sequence[NoisedBatch], parts: Reduction
    ) -> np.ndarray:
        """Features of shape `(b, units, k)` from one model."""
        features: list[Tensor] = []
        size = self.batch(len(probes[0].t))
        for start in range(0, len(probes), size):
            some = probes[start : start + size]
            features.append(engine.features(some, parts, self.projector).cpu())
        found = torch.cat(features).numpy()
        if parts != "halves":
            return found
        return _mean_and_error(found, np.array([self._sizes(probe) for probe in probes]))

    def _sizes(self, probe: NoisedBatch) -> tuple[int, int]:
        """How many independent parts each half averages."""
        if self.spec.normalize == "timestep":
            t = len(probe.t) // probe.draws
            return -(-t // 2), t // 2
        first, second = probe.halves()
        return len(first), len(second)


def _probes(
    denoiser: Denoiser,
    images: ImageSet,
    indices: Sequence[int],
    plan: NoisePlan,
    role: Role,
    trajectories: Sequence[Trajectory | None] | None = None,
) -> list[NoisedBatch]:
    """Some images of a set, with their masks, expanded."""
    batch = denoiser.encode(images, indices)
    masks = None if images.masks is None else [images.masks[i] for i in indices]
    return expand(denoiser, batch, plan, role, trajectories, masks)


def _mean_and_error(halves: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The mean over all evaluations, and a sample of its error.

    With `a` and `b` evaluations in the halves and variance `v` of each, the mean's variance is
    `v / (a + b)`, the difference's `v (1/a + 1/b)`.

    Args:
        halves: shape `(b, 2, k)`.
        sizes: evaluations of either half, shape `(b, 2)`.
    """
    first, second, whole = sizes[:, :1], sizes[:, 1:], sizes.sum(1, keepdims=True)
    a, b = halves[:, 0], halves[:, 1]
    mean = (first * a + second * b) / whole
    error = (a - b) * np.sqrt(first * second) / whole
    return np.stack([mean, error], axis=1).astype(np.float32)
