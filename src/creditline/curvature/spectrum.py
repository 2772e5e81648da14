"""The eigendecomposition of a feature kernel, computed once for every damping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditline.curvature.kernel import MEMORY, covariance, gram, require_memory
from creditline.errors import NumericsError
from creditline.features.table import FeatureTable, centered_chunks, inner_products, mean_feature

Space = Literal["primal", "dual"]


def smaller_space(n: int, k: int) -> Space:
    """Return the smaller form of the kernel: `"primal"` is k x k, `"dual"` n x n."""
    return "primal" if k <= n else "dual"


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and vectors of `Phi^T Phi` (k x k) or of `Phi Phi^T` (n x n), the smaller.

    Attributes:
        space: `"primal"` when k <= n, else `"dual"`.
        eigenvalues: float64, ascending, shape `(s,)` with `s = min(n, k)`.
        vectors: float64, shape `(s, s)`, one eigenvector per column.
        mean: training mean that was subtracted, shape `(k,)`; zeros if not centered.
    """

    space: Space
    eigenvalues: np.ndarray
    vectors: np.ndarray
    mean: np.ndarray

    @classmethod
    def fit(
        cls,
        features: FeatureTable,
        model: int,
        center: bool,
        space: Space | None = None,
        memory: int = MEMORY,
    ) -> Spectrum:
        """Decompose the kernel of one model's features.

        Args:
            features: read several times, chunk by chunk.
            model: index of the model.
            center: subtract the mean feature.
            space: which of the two equivalent forms; by default the smaller.
            memory: limit in bytes.

        Raises:
            NumericsError: if a feature is not finite.
            SettingsError: if the kernel and LAPACK's workspace exceed `memory`.
        """
        n, k = features.n, features.dim
        space = space or smaller_space(n, k)
        require_memory(k if space == "primal" else n, memory)
        mean = mean_feature(features, model) if center else np.zeros(k)
        if space == "primal":
            return cls.from_kernel(covariance(features, model, mean), mean, space)
        return cls.from_kernel(gram(features, model, mean, memory), mean, space)

    @classmethod
    def from_kernel(cls, kernel: np.ndarray, mean: np.ndarray, space: Space) -> Spectrum:
        """Decompose a kernel, which is overwritten; only its lower triangle is read.

        Raises:
            NumericsError: if an entry is not finite.
        """
        if not np.isfinite(kernel.sum()):
            raise NumericsError(
                "The kernel of the features has entries that are not finite. Rebuild the index; "
                "if it persists, run `creditline doctor` on the model."
            )
        import scipy.linalg

        values, vectors = scipy.linalg.eigh(
            kernel, driver="evd", lower=True, overwrite_a=True, check_finite=False
        )
        # Negative eigenvalues of a Gram matrix are rounding errors. LAPACK returns columns; in row
        # order, as on disk, later scores are bitwise equal.
        return cls(space, np.maximum(values, 0.0), np.ascontiguousarray(vectors), mean)

    def scores(
        self, features: FeatureTable, model: int, query: np.ndarray, damping: float
    ) -> np.ndarray:
        """Compute `phi_q^T (Phi^T Phi + damping I)^-1 phi_i`, centered if the fit was.

        Args:
            features: the fitted training features.
            model: index of the model.
            query: query features, shape `(m, k)`.
            damping: absolute.

        Returns:
            float64 of shape `(m, n)`.
        """
        query = query.astype(np.float64) - self.mean
        if self.space == "primal":
            return inner_products(features, model, self.weights(query, damping), self.mean)
        inner = inner_products(features, model, query, self.mean)
        return ((inner @ self.vectors) / (self.eigenvalues + damping)) @ self.vectors.T

    def weights(self, query: np.ndarray, damping: float) -> np.ndarray:
        """Compute `(Phi^T Phi + damping I)^-1 q` in the primal space, shape `(m, k)`.

        Args:
            query: query features, centered if the fit was, float64 of shape `(m, k)`.
            damping: absolute.
        """
        return ((query @ self.vectors) / (self.eigenvalues + damping)) @ self.vectors.T

    def preconditioned(
        self,
        features: FeatureTable,
        model: int,
        damping: float,
        memory: int = MEMORY,
        first: int = 0,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield preconditioned training features `(Phi^T Phi + damping I)^-1 phi_i` in order.

        Inner products of a query's (centered) feature with them are its scores.

        Args:
            features: the fitted training features.
            model: index of the model.
            damping: absolute.
            memory: limit in bytes.
            first: first row to return; a few rows before may come too.

        Yields:
            `(start, rows)`, float64 of shape `(b, k)`.
        """
        inverse = (self.vectors / (self.eigenvalues + damping)) @ self.vectors.T
        if self.space == "primal":
            for start, rows in centered_chunks(features, model, self.mean):
                if start + len(rows) > first:
                    yield start, rows @ inverse
            return
        free = max(memory - inverse.nbytes, 0)
        step = max(1, min(features.n, free // (8 * features.dim)))
        for low in range(first, features.n, step):
            block = np.zeros((min(step, features.n - low), features.dim))
            for start, rows in centered_chunks(features, model, self.mean):
                block += inverse[low : low + step, start : start + len(rows)] @ rows
            yield low, block

    def energies(self, features: FeatureTable, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield squared coordinates of training features along the eigenvectors, chunk by chunk.

        Yields:
            `(start, energies)`, shape `(b, s)`; row `i` sums to `|phi_i - mean|^2`.
        """
        if self.space == "dual":
            yield 0, self.vectors**2 * self.eigenvalues
            return
        for start, rows in centered_chunks(features, model, self.mean):
            yield start, (rows @ self.vectors) ** 2

    def quadratic(
        self, features: FeatureTable, model: int, damping: float, power: int
    ) -> np.ndarray:
        """Compute `phi_i^T (Phi^T Phi + damping I)^-power phi_i` of all images, shape `(n,)`."""
        return self.quadratics(features, model, damping, (power,))[0]

    def quadratics(
        self, features: FeatureTable, model: int, damping: float, powers: Sequence[int]
    ) -> np.ndarray:
        """Compute `quadratic` of several powers in one pass, shape `(powers, n)`."""
        scales = [(self.eigenvalues + damping) ** -power for power in powers]
        parts = [[e @ scale for scale in scales] for _, e in self.energies(features, model)]
        return np.concatenate(parts, axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what is stored, by name."""
        return {"eigenvalues": self.eigenvalues, "vectors": self.vectors, "mean": self.mean}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Spectrum:
        """Restore what `arrays` returned."""
        values, mean = arrays["eigenvalues"], arrays["mean"]
        space: Space = "primal" if len(mean) == len(values) else "dual"
        return cls(space, values, arrays["vectors"], mean)
