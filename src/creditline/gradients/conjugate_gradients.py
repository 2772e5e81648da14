"""Preconditioned conjugate gradients (Hestenes and Stiefel, 1952)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

Map = Callable[[Sequence[Tensor]], list[Tensor]]
"""A linear map of vectors in parts."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Approximate solution of a linear system.

    Attributes:
        vector: in parts.
        iterations: number of products with the matrix, but for the first.
        residual: norm of what is left of the right side, relative to the right side.
    """

    vector: list[Tensor]
    iterations: int
    residual: float


def solve(
    product: Map,
    precondition: Map,
    right: Sequence[Tensor],
    iterations: int,
    tolerance: float,
) -> Solution:
    """Solve `A x = b`, beginning with what the preconditioner makes of `b`.

    Args:
        product: multiplies by the symmetric positive definite `A`.
        precondition: multiplies by an approximate inverse, symmetric positive definite too.
        right: `b`, tensors of any shapes.
        iterations: most iterations.
        tolerance: relative residual that is small enough.
    """
    size = _inner(right, right) ** 0.5
    x = precondition(right)
    if size == 0:
        return Solution(x, 0, 0.0)
    r = _add(right, product(x), -1.0)
    z = precondition(r)
    p, rz, count = z, _inner(r, z), 0
    while count < iterations and _inner(r, r) ** 0.5 > tolerance * size:
        ap = product(p)
        step = rz / _inner(p, ap)
        x, r = _add(x, p, step), _add(r, ap, -step)
        z = precondition(r)
        following = _inner(r, z)
        p, rz, count = _add(z, p, following / rz), following, count + 1
    return Solution(x, count, _inner(r, r) ** 0.5 / size)


def _inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return sum(float((x.double() * y.double()).sum()) for x, y in zip(a, b, strict=True))


def _add(a: Sequence[Tensor], b: Sequence[Tensor], factor: float) -> list[Tensor]:
    return [x + factor * y for x, y in zip(a, b, strict=True)]
