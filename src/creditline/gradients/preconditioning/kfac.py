"""K-FAC: eigenvalues are products of those of the two factors (Martens & Grosse, ICML 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from creditline.gradients.engine import Engine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.parameters import Layer
from creditline.gradients.preconditioning.diagonal_fisher import EIGENVALUES
from creditline.gradients.preconditioning.ekfac import COVARIANCES, EKFAC, decompose
from creditline.gradients.preconditioning.settings import Preconditioning


class KFAC(EKFAC):
    """As EK-FAC, with `Lambda = lambda_S lambda_A^T`; its second pass is for diagonal layers."""

    def __init__(self, settings: Preconditioning, layers: Sequence[Layer]) -> None:
        super().__init__(settings, layers)
        self._products: dict[str, Tensor] = {}

    def add_up(
        self, number: int, engine: Engine, noised_images: Sequence[NoisedBatch]
    ) -> dict[str, Tensor]:
        if number == COVARIANCES:
            return super().add_up(number, engine, noised_images)
        diagonal = [
            layer for layer, basis in zip(self.layers, self.bases_, strict=True) if basis is None
        ]
        if not diagonal:
            return {}
        settings = {"microbatch": engine.microbatch, "precision": engine.precision}
        some = HookEngine(engine.denoiser, diagonal, engine.objective, **settings)
        return super().add_up(number, some, noised_images)

    def learn(self, number: int, sums: Mapping[str, Tensor], evaluations: int) -> None:
        if number != COVARIANCES:
            sums = {
                **sums,
                **{f"{k}/{EIGENVALUES}": v * evaluations for k, v in self._products.items()},
            }
        super().learn(number, sums, evaluations)

    def learn_basis(self, layer: int, outputs: Tensor, inputs: Tensor) -> None:
        (left_values, left), (right_values, right) = decompose(outputs), decompose(inputs)
        self.set_basis(layer, left, right)
        self._products[self.layers[layer].name] = (left_values[:, None] * right_values).flatten()
