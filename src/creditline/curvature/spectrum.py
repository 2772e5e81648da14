"""One eigendecomposition of the features' kernel; every damping is then a division."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditline.errors import NumericsError
from creditline.features import Features, centred, dots
from creditline.features import mean as feature_mean


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and vectors of `Phi^T Phi` (k x k) or of `Phi Phi^T` (n x n), the smaller.

    Attributes:
        space: `"primal"` when k <= n, else `"dual"`.
        eigenvalues: float64, ascending, shape `(s,)` with `s = min(n, k)`.
        vectors: float64, shape `(s, s)`, one eigenvector per column.
        mean: training mean that was subtracted, shape `(k,)`; zeros when not centred.
    """

    space: Literal["primal", "dual"]
    eigenvalues: np.ndarray
    vectors: np.ndarray
    mean: np.ndarray

    @classmethod
    def fit(
        cls,
        features: Features,
        model: int,
        centre: bool,
        space: Literal["primal", "dual"] | None = None,
    ) -> Spectrum:
        """Decompose the kernel of one model's features.

        Args:
            features: streamed several times; never held as a whole.
            model: which model's features.
            centre: subtract the mean feature.
            space: force one of the two equal forms; the cheaper by default.

        Raises:
            NumericsError: if a feature is not finite.
        """
        n, k = features.n, features.dim
        space = space or ("primal" if k <= n else "dual")
        mean = feature_mean(features, model) if centre else np.zeros(k)
        kernel = (_covariance if space == "primal" else _gram)(features, model, mean)
        if not np.isfinite(kernel).all():
            raise NumericsError(
                "The kernel of the features has entries that are not finite. Rebuild the index; "
                "if it persists, run `creditline doctor` on the model."
            )
        import scipy.linalg

        values, vectors = scipy.linalg.eigh(
            kernel, driver="evd", overwrite_a=True, check_finite=False
        )
        # A Gram matrix has no negative eigenvalue; below zero there is only rounding.
        return cls(space, np.maximum(values, 0.0), vectors, mean)

    def scores(
        self, features: Features, model: int, query: np.ndarray, damping: float
    ) -> np.ndarray:
        """`phi_q^T (Phi^T Phi + damping I)^-1 phi_i` for every pair, centred if the fit was.

        Args:
            features: the training features that were fitted.
            model: which model's features.
            query: query features, shape `(m, k)`.
            damping: absolute.

        Returns:
            float64 of shape `(m, n)`.
        """
        query = query.astype(np.float64) - self.mean
        if self.space == "primal":
            weights = (query @ self.vectors) / (self.eigenvalues + damping)
            return dots(features, model, weights @ self.vectors.T, self.mean)
        inner = dots(features, model, query, self.mean)
        return ((inner @ self.vectors) / (self.eigenvalues + damping)) @ self.vectors.T

    def energies(self, features: Features, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """Squared coordinates of training features along the eigenvectors, chunk by chunk.

        Yields:
            `(start, energies)`, shape `(b, s)`; row `i` sums to `|phi_i - mean|^2`.
        """
        if self.space == "dual":
            yield 0, self.vectors**2 * self.eigenvalues
            return
        for start, rows in centred(features, model, self.mean):
            yield start, (rows @ self.vectors) ** 2

    def quadratic(self, features: Features, model: int, damping: float, power: int) -> np.ndarray:
        """`phi_i^T (Phi^T Phi + damping I)^-power phi_i` of every training image, shape `(n,)`."""
        scale = (self.eigenvalues + damping) ** -power
        return np.concatenate([e @ scale for _, e in self.energies(features, model)])

    def arrays(self) -> dict[str, np.ndarray]:
        """What has to be stored."""
        # LAPACK hands back columns; writers of raw memory need rows.
        vectors = np.ascontiguousarray(self.vectors)
        return {"eigenvalues": self.eigenvalues, "vectors": vectors, "mean": self.mean}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Spectrum:
        """The spectrum that `arrays` described."""
        values, mean = arrays["eigenvalues"], arrays["mean"]
        space: Literal["primal", "dual"] = "primal" if len(mean) == len(values) else "dual"
        return cls(space, values, arrays["vectors"], mean)


def _covariance(features: Features, model: int, mean: np.ndarray) -> np.ndarray:
    """`Phi^T Phi`, shape `(k, k)`, accumulated in float64."""
    kernel = np.zeros((features.dim, features.dim))
    for _, rows in centred(features, model, mean):
        kernel += rows.T @ rows
    return kernel


def _gram(features: Features, model: int, mean: np.ndarray) -> np.ndarray:
    """`Phi Phi^T`, shape `(n, n)`, chunk against chunk."""
    kernel = np.empty((features.n, features.n))
    for start, rows in centred(features, model, mean):
        kernel[start : start + len(rows)] = dots(features, model, rows, mean)
    return (kernel + kernel.T) / 2
