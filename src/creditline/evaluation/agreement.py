"""Agreement of computed scores with exact ones.

Three comparisons on a few training images: projected with unprojected scores as k grows, the primal
with the dual solution, and the production path with textbook formulas in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from creditline.bounds import COUNT, SEED, Bounds
from creditline.curvature.spectrum import Spectrum
from creditline.data.load import load_images
from creditline.diffusion.load import load_model
from creditline.evaluation.explicit_gradients import extract, project
from creditline.explain import explained
from creditline.features.gradients import GradientExtractor
from creditline.features.table import ArrayFeatures
from creditline.gradients.projection import Projection
from creditline.indexing.table_schema import normalize
from creditline.methods import registry
from creditline.methods.fit_context import FitContext
from creditline.methods.ridge_method import RidgeMethod
from creditline.runtime import Runtime
from creditline.settings import override, require, setting, validate_settings

if TYPE_CHECKING:
    from creditline.data.image_source import ImageSource
    from creditline.diffusion.model_source import ModelSource


@dataclass(frozen=True)
class AgreementConfig:
    """Settings of the agreement check."""

    methods: tuple[str, ...] = setting(("trak", "d-trak"), "methods to check, of ridge form")
    train: int = setting(300, "number of training images, drawn at random", bounds=Bounds(8))
    queries: int = setting(30, "number of further training images used as queries", bounds=COUNT)
    timesteps: int = setting(10, "timesteps per image", bounds=COUNT)
    dims: tuple[int, ...] = setting(
        (1024, 4096, 16384), "projection dimensions to compare", bounds=COUNT
    )
    kinds: tuple[str, ...] = setting(
        ("two-sided", "principal", "count-sketch"), "projections to compare"
    )
    layouts: tuple[str, ...] = setting(("joint", "layers"), "layouts of each projection to compare")
    seed: int = setting(0, "seed of the random images", bounds=SEED)

    def __post_init__(self) -> None:
        validate_settings(self)


@dataclass(frozen=True)
class AgreementRow:
    """Result of one comparison.

    Attributes:
        method: title of the method.
        comparison: what is compared.
        value: mean Spearman correlation over queries, or largest relative difference.
    """

    method: str
    comparison: str
    value: float


@explained
def check_agreement(
    model: ModelSource,
    images: ImageSource,
    settings: AgreementConfig | None = None,
    runtime: Runtime | None = None,
) -> list[AgreementRow]:
    """Run all comparisons for some methods at their default damping.

    Args:
        model: the model; see `load_model`.
        images: training images of the model; see `load_images`.
        settings: settings of the check.
        runtime: the device of a model given as a path, and progress.

    Returns:
        One row per comparison. A relative difference is `max |a - b| / max |b|` over the scores of
        a query, and the largest over queries.

    Raises:
        SettingsError: if there are too few images, or a method has no damping.
    """
    settings = settings or AgreementConfig()
    runtime = runtime or Runtime()
    denoiser, image_set = (
        load_model(model, device=runtime.main_device),
        load_images(images, runtime=runtime),
    )
    n, m = settings.train, settings.queries
    require(
        n + m <= len(image_set),
        f"{n} training images and {m} queries are drawn from the images",
        len(image_set),
        "Use fewer training images or queries.",
    )
    order = np.random.default_rng(settings.seed).permutation(len(image_set))
    sample = image_set.subset(order[: n + m])
    rows: list[AgreementRow] = []
    for name in settings.methods:
        plain = {"timesteps": settings.timesteps, "projection": "none"}
        method: Any = override(registry.get(name)(), plain)
        require(
            method.capabilities.damped,
            "The check needs methods that damp a kernel",
            name,
            "Use trak or d-trak.",
        )
        source = GradientExtractor([denoiser], method.features)
        train = extract(source, sample, range(n), "train", f"{name}: train", runtime)
        query = extract(source, sample, range(n, n + m), "query", f"{name}: queries", runtime)
        rows += _compare_projections(method, source, train, query, settings)
        rows += _compare_solutions(method, source, train, query, max(settings.dims[0], 2 * n))
    return rows


def _compare_projections(
    method: RidgeMethod,
    source: GradientExtractor,
    train: np.ndarray,
    query: np.ndarray,
    settings: AgreementConfig,
) -> list[AgreementRow]:
    """Compare projected with unprojected scores."""
    exact = _fitted_scores(method, train, query)
    rows = []
    for kind, layout, dim in product(settings.kinds, settings.layouts, settings.dims):
        projection = Projection(kind, dim, layout=layout)  # type: ignore[arg-type]
        if dim >= sum(projection.projector.input_sizes(projection, source.layers)):
            continue
        a, b = project(source.layers, projection, train, query)
        scores = _fitted_scores(method, a, b)
        rho = [spearmanr(x, y).statistic for x, y in zip(scores, exact, strict=True)]
        comparison = f"rank correlation with unprojected scores, {kind}, {layout}, k = {dim}"
        rows.append(AgreementRow(method.title, comparison, float(np.mean(rho))))
    return rows


def _compare_solutions(
    method: RidgeMethod, source: GradientExtractor, train: np.ndarray, query: np.ndarray, dim: int
) -> list[AgreementRow]:
    """Compare primal, dual and textbook solutions on the same projected, stored features."""
    dim = min(dim, source.dim - 1)
    projection = Projection("count-sketch", dim)
    train, query = project(source.layers, projection, train, query)
    stored, lengths = normalize(train, [""] * len(train))
    phi = stored.astype(np.float64) * lengths[:, None]
    psi = query.astype(np.float64)
    table = ArrayFeatures(phi)
    spectra = [Spectrum.fit(table, 0, True, space) for space in ("primal", "dual")]
    damping = method.ridge.absolute(spectra[1].eigenvalues)
    primal, dual = (s.scores(table, 0, psi, damping) for s in spectra)
    a, b = phi - phi.mean(0), psi - phi.mean(0)
    textbook = b @ np.linalg.solve(a.T @ a + damping * np.eye(dim), a.T)
    production = _fitted_scores(method, table, psi)
    return [
        AgreementRow(method.title, f"primal against dual, k = {dim}", _difference(primal, dual)),
        AgreementRow(
            method.title,
            f"production path against float64 textbook formula, k = {dim}",
            _difference(production, textbook),
        ),
    ]


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest relative difference over queries."""
    return float((np.abs(a - b).max(1) / np.abs(b).max(1)).max())


def _fitted_scores(method: RidgeMethod, train: Any, query: np.ndarray) -> np.ndarray:
    return method.unfitted().fit(FitContext(features=train)).attribute(query)
