"""A spectrum after images came or went, without another pass over all features.

With mean `mu` and centered kernel `S` of n rows, m rows `a_j` of mean `mu + d` are

    added      S' = S + sum_j (a_j - mu)(a_j - mu)^T - m^2 / (n + m) d d^T
    removed    S' = S - sum_j (a_j - mu)(a_j - mu)^T - m^2 / (n - m) d d^T

(Chan, Golub and LeVeque 1983, there for variances): an exact change of rank m + 1, the last for the
mean that moves. Of the dual kernel rows and columns come or go, and a projection centers the rest.
The kernel is put together from its eigenvectors, changed and decomposed again, which costs no more
than the new eigenvectors would in any case; what is saved is the product over all n rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from creditline.curvature.kernel import MEMORY, require_memory, with_products
from creditline.curvature.spectrum import Spectrum, cheaper
from creditline.features.table import FeatureTable, centered_chunks, take_chunks, take_rows


def added(
    spectrum: Spectrum,
    features: FeatureTable,
    model: int,
    n: int,
    center: bool,
    memory: int = MEMORY,
) -> Spectrum | None:
    """The spectrum of a table of which the first `n` rows were fitted.

    Args:
        spectrum: of the first `n` rows.
        features: all rows.
        model: which model's features.
        n: rows that were there before.
        center: whether the mean feature is removed.
        memory: bytes that may be taken.

    Returns:
        What `Spectrum.fit` would give, to rounding; None where a fit is no dearer: where as many
        rows came as were there, or where the other kernel is smaller now.
    """
    m, k = features.n - n, features.dim
    if m >= n or cheaper(features.n, k) != spectrum.space:
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
            kernel = with_products(kernel, part - spectrum.mean, 1.0)
        kernel = with_products(kernel, shift[None], -(m**2) / features.n)
        return Spectrum.of_kernel(kernel, mean, "primal")
    kernel = np.zeros((features.n, features.n), order="F")
    kernel[:n, :n] = _kernel(spectrum)
    new = take_rows(features, model, rows) - spectrum.mean
    for start, old in centered_chunks(features, model, spectrum.mean):
        kernel[n:, start : start + len(old)] = new @ old.T
    return Spectrum.of_kernel(_centered(kernel) if center else kernel, mean, "dual")


def removed(
    spectrum: Spectrum,
    features: FeatureTable,
    model: int,
    rows: np.ndarray,
    center: bool,
    memory: int = MEMORY,
) -> Spectrum | None:
    """The spectrum of a table without some of its rows.

    Args:
        spectrum: of all rows.
        features: all rows.
        model: which model's features.
        rows: positions that go, ascending, without repetition.
        center: whether the mean feature is removed.
        memory: bytes that may be taken.

    Returns:
        What `Spectrum.fit` would give for the rows that stay, to rounding; None where a fit is
        called for: where no more rows stay than go, so that digits would be lost in the
        difference, or where the other kernel is smaller now.
    """
    n, m, k = features.n, len(rows), features.dim
    if m >= n - m or cheaper(n - m, k) != spectrum.space:
        return None
    require_memory(k if spectrum.space == "primal" else n, memory)
    total = sum(part.sum(0) for part in take_chunks(features, model, rows))
    shift = total / m - spectrum.mean if center else np.zeros(k)
    mean = spectrum.mean - m / (n - m) * shift
    if spectrum.space == "primal":
        kernel = _kernel(spectrum)
        for part in take_chunks(features, model, rows):
            kernel = with_products(kernel, part - spectrum.mean, -1.0)
        kernel = with_products(kernel, shift[None], -(m**2) / (n - m))
        return Spectrum.of_kernel(kernel, mean, "primal")
    stay = np.setdiff1d(np.arange(n), rows)
    kernel = np.asfortranarray(_kernel(spectrum)[np.ix_(stay, stay)])
    return Spectrum.of_kernel(_centered(kernel) if center else kernel, mean, "dual")


def moved(spectrum: Spectrum, by: np.ndarray) -> Spectrum:
    """A centered spectrum after all features were moved by one vector: only its mean moves."""
    return replace(spectrum, mean=spectrum.mean + by)


def _kernel(spectrum: Spectrum) -> np.ndarray:
    """The kernel that was decomposed, in column order."""
    half = spectrum.vectors * np.sqrt(spectrum.eigenvalues)
    return with_products(np.zeros(half.shape, order="F"), np.ascontiguousarray(half.T), 1.0)


def _centered(kernel: np.ndarray) -> np.ndarray:
    """A dual kernel, lower triangle, as if its rows had been centered before the product."""
    full = np.tril(kernel) + np.tril(kernel, -1).T
    means = full.mean(0)
    full -= means
    full -= (means - means.mean())[:, None]
    return np.asfortranarray(full)
