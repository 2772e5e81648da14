"""Preconditioned conjugate gradients on tensors in parts, by SciPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

Map = Callable[[Sequence[Tensor]], list[Tensor]]
"""A linear map of vectors in parts."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Approximate solution of a linear system.

    Attributes:
        vector: in parts, of the right side's type.
        iterations: number of iterations.
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
        right: `b`, one tensor of one axis per part.
        iterations: most iterations.
        tolerance: relative residual that is small enough.
    """
    sizes, kind = [len(part) for part in right], right[0].dtype

    def split(vector: np.ndarray) -> list[Tensor]:
        return list(torch.from_numpy(vector).to(kind).split(sizes))

    def operator(apply: Map) -> LinearOperator:
        def multiply(vector: np.ndarray) -> np.ndarray:
            return _flat(apply(split(vector)))

        return LinearOperator((sum(sizes),) * 2, multiply, dtype=np.float64)

    matrix, inverse, b = operator(product), operator(precondition), _flat(right)
    steps: list[None] = []
    x, _ = cg(
        matrix,
        b,
        inverse @ b,
        rtol=tolerance,
        atol=0.0,
        maxiter=iterations,
        M=inverse,
        callback=lambda _: steps.append(None),
    )
    size = float(np.linalg.norm(b))
    residual = float(np.linalg.norm(b - matrix @ x)) / size if size else 0.0
    return Solution(split(x), len(steps), residual)


def _flat(parts: Sequence[Tensor]) -> np.ndarray:
    return torch.cat([part.double() for part in parts]).numpy()
