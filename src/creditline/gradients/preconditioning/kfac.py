"""K-FAC: eigenvalues are products of those of the two factors (Martens & Grosse, ICML 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from creditline.gradients.parameters import Layer
from creditline.gradients.preconditioning.ekfac import COVARIANCES, EKFAC, decompose
from creditline.gradients.preconditioning.settings import Preconditioning


class KFAC(EKFAC):
    """As EK-FAC, with `Lambda = lambda_S lambda_A^T`; its second pass is for diagonal layers."""

    def __init__(self, settings: Preconditioning, layers: Sequence[Layer]) -> None:
        super().__init__(settings, layers)
        self._products: dict[int, Tensor] = {}

    def learn(self, number: int, sums: Mapping[str, Tensor], evaluations: int) -> None:
        super().learn(number, sums, evaluations)
        if number != COVARIANCES:
            self._use([self._products.get(i, own) for i, own in enumerate(self.eigenvalues_)])

    def learn_basis(self, layer: int, outputs: Tensor, inputs: Tensor) -> None:
        (left_values, left), (right_values, right) = decompose(outputs), decompose(inputs)
        self.set_basis(layer, left, right)
        self._products[layer] = (left_values[:, None] * right_values).flatten()
