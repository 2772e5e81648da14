"""Update a spectrum when images are added or removed, without reading all features again.

With mean `mu` and centered kernel `S` of n rows, m rows `a_j` of mean `mu + d` are

    added      S' = S + sum_j (a_j - mu)(a_j - mu)^T - m^2 / (n + m) d d^T
    removed    S' = S - sum_j (a_j - mu)(a_j - mu)^T - m^2 / (n - m) d d^T

(Chan, Golub and LeVeque 1983, there for variances): an exact update of rank m + 1, the last for the
mean, which moves. In the dual kernel rows and columns are added or removed, and the rest is
centered again. The kernel is assembled from its eigenvectors, updated and decomposed. That costs no
more than computing new eigenvectors, and saves the product over all n rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from creditline.curvature.kernel import MEMORY, add_products, require_memory
from creditline.curvature.spectrum import Spectrum, smaller_space
from creditline.features.table import FeatureTable, centered_chunks, take_chunks, take_rows


def add_images(
    spectrum: Spectrum,
    features: FeatureTable,
    model: int,
    n: int,
    center: bool,
    memory: int = MEMORY,
) -> Spectrum | None:
    """Compute the spectrum of a table whose first `n` rows were fitted.

    Args:
        spectrum: of the first `n` rows.
        features: all rows.
        model: index of the model.
        n: number of fitted rows.
        center: whether the mean feature is subtracted.
        memory: limit in bytes.

    Returns:
        What `Spectrum.fit` returns, up to rounding. None if a fit is not more expensive: if at
        least as many rows are new, or the other kernel is smaller now.
    """
    m, k = features.n - n, features.dim
    if m >= n or smaller_space(features.n, k) != spectrum.space:
        return None
    rows = np.arange(n, features.n)
    order = k if spectrum.space == "primal" else features.n
    require_memory(order, memory)
    total = sum(part.sum(0) for part in take_chunks(features, model, rows))
    shift = total / m - spectrum.mean if center else np.zeros(k)
    mean = spectrum.mean + m / features.n * shift
    if spectrum.space == "primal":
        kernel = _kernel(spectrum)
        for part in take_chunks(features, model, rows):
            kernel = add_products(kernel, part - spectrum.mean, 1.0)
        kernel = add_products(kernel, shift[None], -(m**2) / features.n)
        return Spectrum.from_kernel(kernel, mean, "primal")
    kernel = np.zeros((features.n, features.n), order="F")
    kernel[:n, :n] = _kernel(spectrum)
    new = take_rows(features, model, rows) - spectrum.mean
    for start, old in centered_chunks(features, model, spectrum.mean):
        kernel[n:, start : start + len(old)] = new @ old.T
    return Spectrum.from_kernel(_center(kernel) if center else kernel, mean, "dual")


def remove_images(
    spectrum: Spectrum,
    features: FeatureTable,
    model: int,
    rows: np.ndarray,
    center: bool,
    memory: int = MEMORY,
) -> Spectrum | None:
    """Compute the spectrum of a table without some of its rows.

    Args:
        spectrum: of all rows.
        features: all rows.
        model: index of the model.
        rows: positions to remove, ascending, without repetition.
        center: whether the mean feature is subtracted.
        memory: limit in bytes.

    Returns:
        What `Spectrum.fit` returns for the remaining rows, up to rounding. None if a fit is needed:
        if at least half of the rows are removed, so that the difference would lose digits, or if
        the other kernel is smaller now.
    """
    n, m, k = features.n, len(rows), features.dim
    if m >= n - m or smaller_space(n - m, k) != spectrum.space:
        return None
    require_memory(k if spectrum.space == "primal" else n, memory)
    total = sum(part.sum(0) for part in take_chunks(features, model, rows))
    shift = total / m - spectrum.mean if center else np.zeros(k)
    mean = spectrum.mean - m / (n - m) * shift
    if spectrum.space == "primal":
        kernel = _kernel(spectrum)
        for part in take_chunks(features, model, rows):
            kernel = add_products(kernel, part - spectrum.mean, -1.0)
        kernel = add_products(kernel, shift[None], -(m**2) / (n - m))
        return Spectrum.from_kernel(kernel, mean, "primal")
    stay = np.setdiff1d(np.arange(n), rows)
    kernel = np.asfortranarray(_kernel(spectrum)[np.ix_(stay, stay)])
    return Spectrum.from_kernel(_center(kernel) if center else kernel, mean, "dual")


def shift_mean(spectrum: Spectrum, offset: np.ndarray) -> Spectrum:
    """Update a centered spectrum after one vector was added to all features: only its mean."""
    return replace(spectrum, mean=spectrum.mean + offset)


def _kernel(spectrum: Spectrum) -> np.ndarray:
    """Assemble the kernel from its decomposition, in column order."""
    half = spectrum.vectors * np.sqrt(spectrum.eigenvalues)
    return add_products(np.zeros(half.shape, order="F"), np.ascontiguousarray(half.T), 1.0)


def _center(kernel: np.ndarray) -> np.ndarray:
    """Center a dual kernel (lower triangle) as if features had been centered before the product."""
    full = np.tril(kernel) + np.tril(kernel, -1).T
    means = full.mean(0)
    full -= means
    full -= (means - means.mean())[:, None]
    return np.asfortranarray(full)
