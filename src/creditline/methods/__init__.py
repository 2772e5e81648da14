"""Attribution methods: the interface, its kinds, and the registry.

Subclass `BilinearAttributor` (or `GradientMethod`, `RidgeMethod`, `InnerProduct`),
`ModelAttributor` or `SubsetAttributor` to add a method; see `creditline.methods.registry` for how
it is found by its name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from creditline.methods.registry import DEFAULT, broken, classes, get, names, reference

if TYPE_CHECKING:
    from creditline.methods.attributor import Attributor
    from creditline.methods.bilinear import BilinearAttributor
    from creditline.methods.capabilities import Capabilities
    from creditline.methods.fit_context import FitContext
    from creditline.methods.gradient_method import GradientMethod
    from creditline.methods.inner_product import InnerProduct
    from creditline.methods.method_sum import MethodSum
    from creditline.methods.model_losses import image_losses
    from creditline.methods.model_method import ModelAttributor
    from creditline.methods.ridge_method import RidgeMethod
    from creditline.methods.score_noise import ScoreNoise
    from creditline.methods.score_transform import ScoreTransform
    from creditline.methods.scores import QueryBatch, Scores
    from creditline.methods.subset_losses import SubsetLosses
    from creditline.methods.subset_method import SubsetAttributor

_EXPORTS = {
    "Attributor": "attributor",
    "BilinearAttributor": "bilinear",
    "Capabilities": "capabilities",
    "FitContext": "fit_context",
    "GradientMethod": "gradient_method",
    "InnerProduct": "inner_product",
    "MethodSum": "method_sum",
    "ModelAttributor": "model_method",
    "QueryBatch": "scores",
    "RidgeMethod": "ridge_method",
    "ScoreNoise": "score_noise",
    "ScoreTransform": "score_transform",
    "Scores": "scores",
    "SubsetAttributor": "subset_method",
    "SubsetLosses": "subset_losses",
    "image_losses": "model_losses",
}

__all__ = [
    "DEFAULT",
    "Attributor",
    "BilinearAttributor",
    "Capabilities",
    "FitContext",
    "GradientMethod",
    "InnerProduct",
    "MethodSum",
    "ModelAttributor",
    "QueryBatch",
    "RidgeMethod",
    "ScoreNoise",
    "ScoreTransform",
    "Scores",
    "SubsetAttributor",
    "SubsetLosses",
    "broken",
    "classes",
    "get",
    "image_losses",
    "names",
    "reference",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'creditline.methods' has no attribute {name!r}")
    return getattr(import_module(f"creditline.methods.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
