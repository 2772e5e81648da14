"""EK-FAC influence without stored features: training gradients stream by the queries.

    score(q, i) = g_q^T (GGN + damping)^-1 g_i,   g = mean_t grad L_simple

The curvature's inverse is applied to the queries, which are held, and each training gradient is
computed once for all of them. Nothing is projected, so scores are exact but for the curvature. The
solution by EK-FAC can be refined by conjugate gradients on the exact Gauss-Newton matrix.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from creditline.bounds import COUNT, DRAWS, NOT_NEGATIVE, POSITIVE, Bounds
from creditline.data.image_set import ImageSet
from creditline.errors import SettingsError
from creditline.fingerprint import of_json
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec, GradientSpec
from creditline.methods.fit_context import FitContext
from creditline.methods.gradient_method import QUERY_EVALUATIONS, plan_of_queries
from creditline.methods.model_method import ModelAttributor
from creditline.methods.scores import QueryBatch, Scores
from creditline.settings import group, override, require, setting, to_dict
from creditline.units import size

if TYPE_CHECKING:  # PyTorch is imported when it is needed
    from torch import Tensor

    from creditline.gradients.conjugate_gradients import Map
    from creditline.gradients.preconditioning.diagonal_fisher import DiagonalFisher

BITS = (32, 16, 8)
REFINEMENT = 2
"""Number of the pass whose evaluations conjugate gradients use; EK-FAC's are 0 and 1."""


@dataclass
class StreamedEKFAC(ModelAttributor):
    """Influence under the network's curvature, by one pass over the training images.

    Attributes:
        extractor_: computes explicit gradients, with the fitted curvature.
        solutions_: iterations and residuals of the latest queries' refinement, by model.
    """

    name: ClassVar = "ekfac-streamed"
    title: ClassVar = "EK-FAC influence (streamed)"
    paper: ClassVar = "Mlodozeniec et al., ICLR 2025"
    formula: ClassVar = "g_qᵀ (GGN + λI)⁻¹ g_i,  g = mean_t ∇L_simple"
    needs: ClassVar = "a model and the training images when queries come"
    cost: ClassVar = "2,000 backward passes for the curvature; n·t for all queries of a trace"
    query_block: ClassVar[int] = 100_000
    part_rows: ClassVar[int] = 64
    """Training images of a part; an interruption loses one part per worker."""

    gradients: GradientSpec = group(GradientSpec, affects="factors")
    preconditioning: Preconditioning = group(lambda: Preconditioning("ekfac"), affects="factors")
    query_draws: int | None = setting(
        None,
        f"noise draws at each timestep of a query; none: {QUERY_EVALUATIONS} passes or more",
        affects="scores",
        bounds=DRAWS,
    )
    query_bits: int = setting(
        32,
        "bits of each number of a query's gradient that is held: 32, 16 or 8",
        affects="scores",
        bounds=Bounds(8, 32),
    )
    cg_iterations: int = setting(
        0,
        "most iterations of conjugate gradients that refine the curvature's inverse; 0: none",
        affects="scores",
        bounds=NOT_NEGATIVE,
    )
    cg_tolerance: float = setting(
        0.01, "relative residual at which they stop", affects="scores", bounds=POSITIVE
    )
    cg_draws: int = setting(
        400,
        "evaluations of training images that their Gauss-Newton matrix is made of",
        affects="scores",
        bounds=COUNT,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        bits, settings = self.query_bits, self.preconditioning
        require(bits in BITS, "query_bits are one of 32, 16, 8", bits, "Try 8.")
        for name, value, other in (
            ("preconditioner", settings.preconditioner, "none"),
            ("preconditioner_filter", settings.preconditioner_filter, "unrolled"),
        ):
            if value == other:
                raise SettingsError(
                    f"{self.title} divides by a damped curvature at the final model; got "
                    f"{name}={value!r}. Leave it out."
                )

    @property
    def features(self) -> FeatureSpec:
        """Explicit gradients beside the fitted curvature."""
        return FeatureSpec(
            **vars(self.gradients),
            projection=Projection("none"),
            preconditioning=self.preconditioning,
            halves=False,
        )

    @property
    def query_plan(self) -> NoisePlan:
        return plan_of_queries(self.gradients.plan, self.query_draws)

    def learn(self, context: FitContext) -> None:
        from creditline.features.gradients import GradientExtractor

        self.extractor_ = GradientExtractor(context.models, self.features, self.query_plan)
        images = cast(ImageSet, context.images)
        self.extractor_.check(images)
        folder = context.cache.work_folder("curvature")
        self.extractor_.fit(images, context.runtime, folder)
        self.extractor_.check(images)  # what the fit made
        self.solutions_: list[list[dict[str, float]]] = []

    def score(self, queries: QueryBatch) -> Scores:
        """Score every training image for every query, in one pass over the training images.

        Interrupt it at any time; the same queries continue where they stopped, once an index
        keeps results.

        Raises:
            SettingsError: if the method is not fitted, or the queries' gradients need more memory
                than fitting may take.
        """
        from creditline.features.gradient_stream import GradientStream, stream_scores
        from creditline.gradients.held_gradients import HeldGradients

        images, context = self.query_images(queries), self._require_fitted()
        train = cast(ImageSet, context.images)
        self._require_memory(len(images), context.memory)
        self.solutions_ = []
        total = np.zeros((len(images), len(train)))
        models = len(context.models)
        for model in range(models):
            held = HeldGradients.pack(self._solve(model, images, train), self.query_bits)
            engine, plan = self.extractor_.engines[model], self.gradients.plan
            # Queries may be equal where the gradients of training images are others.
            key = of_json([to_dict(self.gradients), model, held.digest])
            folder = context.cache.work_folder(f"stream-{key[:12]}")
            batch = self.extractor_.batch(plan.evaluations)
            stream = GradientStream(engine, train, plan, held, folder, batch, self.part_rows)
            total += stream_scores(stream, context.runtime) / models
            shutil.rmtree(folder, ignore_errors=True)
        return Scores(total)

    def facts(self) -> Mapping[str, Any]:
        if not self.cg_iterations or not self.solutions_:
            return {}
        every = [one for own in self.solutions_ for one in own]
        return {
            "conjugate gradients": max(int(one["iterations"]) for one in every),
            "largest relative residual": max(one["residual"] for one in every),
        }

    def _solve(self, model: int, queries: ImageSet, train: ImageSet) -> list[Tensor]:
        """Multiply the gradients of queries by the inverse of the curvature, `(m, d_l)` each."""
        import torch

        from creditline.gradients.conjugate_gradients import solve

        curvature = cast("DiagonalFisher", self.extractor_.states[model].preconditioner)
        rows = [self.extractor_.gradients(model, queries, [i]) for i in range(len(queries))]
        gradients = [torch.cat(layer) for layer in zip(*rows, strict=True)]
        if not self.cg_iterations:
            return curvature.solve(gradients)
        product = self._damped_product(model, curvature, train)
        solutions = [
            solve(
                product,
                lambda right: [x[0] for x in curvature.solve([y[None] for y in right])],
                [layer[i] for layer in gradients],
                self.cg_iterations,
                self.cg_tolerance,
            )
            for i in range(len(queries))
        ]
        self.solutions_.append(
            [{"iterations": one.iterations, "residual": one.residual} for one in solutions]
        )
        return [
            torch.stack(layer)
            for layer in zip(*(solution.vector for solution in solutions), strict=True)
        ]

    def _damped_product(self, model: int, curvature: DiagonalFisher, train: ImageSet) -> Map:
        """Multiply by the exact Gauss-Newton matrix, damped as the curvature is."""
        from creditline.gradients.gauss_newton import GaussNewton
        from creditline.gradients.preconditioning.draws import CurvatureDraws

        settings = override(self.preconditioning, {"preconditioner_draws": self.cg_draws})
        engine = self.extractor_.engines[model]
        draws = CurvatureDraws(settings, len(train), self.gradients.plan.mirror)
        noised = draws.noised_images(engine.denoiser, train, draws.rows.tolist(), REFINEMENT)
        matrix, damping = GaussNewton(engine, noised), curvature.dampings_

        def product(vector: Any) -> list[Tensor]:
            exact = matrix.product(vector)
            return [x.cpu() + lam * v for x, v, lam in zip(exact, vector, damping, strict=True)]

        return product

    def _require_memory(self, queries: int, memory: int) -> None:
        needed = queries * self.extractor_.parameters * (4 + self.query_bits // 8)
        require(
            needed <= memory,
            f"The gradients of {queries} queries take {size(needed)} while they are made; fitting "
            f"may take {size(memory)}",
            queries,
            "Trace fewer queries at a time, hold 8 bits (--query-bits 8), or give more memory.",
        )
