"""One eigendecomposition of the features' kernel; every damping is then a division."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditline.curvature.kernel import MEMORY, covariance, gram, require_memory
from creditline.errors import NumericsError
from creditline.features.table import FeatureTable, centered_chunks, inner_products, mean_feature

Space = Literal["primal", "dual"]


def cheaper(n: int, k: int) -> Space:
    """The form of the kernel that has fewer entries: `"primal"` is k x k, `"dual"` n x n."""
    return "primal" if k <= n else "dual"


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and vectors of `Phi^T Phi` (k x k) or of `Phi Phi^T` (n x n), the smaller.

    Attributes:
        space: `"primal"` when k <= n, else `"dual"`.
        eigenvalues: float64, ascending, shape `(s,)` with `s = min(n, k)`.
        vectors: float64, shape `(s, s)`, one eigenvector per column.
        mean: training mean that was subtracted, shape `(k,)`; zeros when not centered.
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
            features: streamed several times; never held as a whole.
            model: which model's features.
            center: subtract the mean feature.
            space: force one of the two equal forms; the cheaper by default.
            memory: bytes that may be taken.

        Raises:
            NumericsError: if a feature is not finite.
            SettingsError: if `memory` does not hold the kernel and LAPACK's workspace.
        """
        n, k = features.n, features.dim
        space = space or cheaper(n, k)
        require_memory(k if space == "primal" else n, memory)
        mean = mean_feature(features, model) if center else np.zeros(k)
        if space == "primal":
            return cls.of_kernel(covariance(features, model, mean), mean, space)
        return cls.of_kernel(gram(features, model, mean, memory), mean, space)

    @classmethod
    def of_kernel(cls, kernel: np.ndarray, mean: np.ndarray, space: Space) -> Spectrum:
        """Decompose a kernel, which is overwritten; of its entries only the lower triangle is read.

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
        # A Gram matrix has no negative eigenvalue; below zero there is only rounding.
        # LAPACK hands back columns; in rows as on disk, so that scores have the same bits later.
        return cls(space, np.maximum(values, 0.0), np.ascontiguousarray(vectors), mean)

    def scores(
        self, features: FeatureTable, model: int, query: np.ndarray, damping: float
    ) -> np.ndarray:
        """`phi_q^T (Phi^T Phi + damping I)^-1 phi_i` for every pair, centered if the fit was.

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
            return inner_products(features, model, weights @ self.vectors.T, self.mean)
        inner = inner_products(features, model, query, self.mean)
        return ((inner @ self.vectors) / (self.eigenvalues + damping)) @ self.vectors.T

    def solved(
        self,
        features: FeatureTable,
        model: int,
        damping: float,
        memory: int = MEMORY,
        first: int = 0,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Preconditioned training features, `(Phi^T Phi + damping I)^-1 phi_i`, in order.

        The scores of a query are its (centered) feature's inner products with them.

        Args:
            features: the training features that were fitted.
            model: which model's features.
            damping: absolute.
            memory: bytes that may be taken.
            first: row from which they are wanted; a few before may be given too.

        Yields:
            `(start, rows)`, float64 of shape `(b, k)`.
        """
        inverse = (self.vectors / (self.eigenvalues + damping)) @ self.vectors.T
        if self.space == "primal":
            for start, rows in centered_chunks(features, model, self.mean):
                if start + len(rows) > first:
                    yield start, rows @ inverse
            return
        room = max(memory - inverse.nbytes, 0)
        step = max(1, min(features.n, room // (8 * features.dim)))
        for low in range(first, features.n, step):
            solved = np.zeros((min(step, features.n - low), features.dim))
            for start, rows in centered_chunks(features, model, self.mean):
                solved += inverse[low : low + step, start : start + len(rows)] @ rows
            yield low, solved

    def energies(self, features: FeatureTable, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """Squared coordinates of training features along the eigenvectors, chunk by chunk.

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
        """`phi_i^T (Phi^T Phi + damping I)^-power phi_i` of every training image, shape `(n,)`."""
        scale = (self.eigenvalues + damping) ** -power
        return np.concatenate([e @ scale for _, e in self.energies(features, model)])

    def arrays(self) -> dict[str, np.ndarray]:
        """What has to be stored."""
        return {"eigenvalues": self.eigenvalues, "vectors": self.vectors, "mean": self.mean}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Spectrum:
        """The spectrum that `arrays` described."""
        values, mean = arrays["eigenvalues"], arrays["mean"]
        space: Space = "primal" if len(mean) == len(values) else "dual"
        return cls(space, values, arrays["vectors"], mean)
