"""Evaluation of attribution methods.

- `retrain` trains models on subsets of the training images and measures query losses: a
  `GroundTruth`.
- `compare_methods` computes the linear datamodeling score (LDS) of methods on an index;
  `compute_lds` computes it from arrays.
- `run_counterfactual` removes influential training images, retrains, and generates again.
- `measure_reliability` compares scores with those of fresh noise.
- `check_self_retrieval` and `check_agreement` check a method without retraining.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creditline.evaluation.agreement import AgreementConfig, AgreementRow, check_agreement
    from creditline.evaluation.counterfactual.experiment import (
        CounterfactualConfig,
        run_counterfactual,
    )
    from creditline.evaluation.counterfactual.result import CounterfactualResult
    from creditline.evaluation.counterfactual.training_config import read_training_config
    from creditline.evaluation.lds.ceiling import Ceiling, compute_ceiling
    from creditline.evaluation.lds.compare import compare_methods
    from creditline.evaluation.lds.comparison import Comparison, MethodResult, QueryGroup
    from creditline.evaluation.lds.config import LDSConfig
    from creditline.evaluation.lds.damping import DampingScores, DampingSearch
    from creditline.evaluation.lds.folds import compute_held_out_lds
    from creditline.evaluation.lds.score import LDS, Difference, compute_difference, compute_lds
    from creditline.evaluation.reliability import Reliability, measure_reliability
    from creditline.evaluation.self_retrieval import (
        RetrievalResult,
        SelfRetrievalConfig,
        check_self_retrieval,
    )
    from creditline.evaluation.truth.ground_truth import GroundTruth
    from creditline.evaluation.truth.losses import LossPlan, measure_losses
    from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
    from creditline.evaluation.truth.subsets import SubsetSpec, draw_masks

_EXPORTS = {
    "AgreementConfig": "agreement",
    "AgreementRow": "agreement",
    "Ceiling": "lds.ceiling",
    "Comparison": "lds.comparison",
    "CounterfactualConfig": "counterfactual.experiment",
    "CounterfactualResult": "counterfactual.result",
    "DampingScores": "lds.damping",
    "DampingSearch": "lds.damping",
    "Difference": "lds.score",
    "GroundTruth": "truth.ground_truth",
    "LDS": "lds.score",
    "LDSConfig": "lds.config",
    "LossPlan": "truth.losses",
    "MethodResult": "lds.comparison",
    "QueryGroup": "lds.comparison",
    "Reliability": "reliability",
    "RetrainingConfig": "truth.retraining",
    "RetrievalResult": "self_retrieval",
    "SelfRetrievalConfig": "self_retrieval",
    "SubsetSpec": "truth.subsets",
    "check_agreement": "agreement",
    "check_self_retrieval": "self_retrieval",
    "compare_methods": "lds.compare",
    "compute_ceiling": "lds.ceiling",
    "compute_difference": "lds.score",
    "compute_held_out_lds": "lds.folds",
    "compute_lds": "lds.score",
    "draw_masks": "truth.subsets",
    "measure_losses": "truth.losses",
    "measure_reliability": "reliability",
    "read_training_config": "counterfactual.training_config",
    "retrain": "truth.retraining",
    "run_counterfactual": "counterfactual.experiment",
}

__all__ = [
    "LDS",
    "AgreementConfig",
    "AgreementRow",
    "Ceiling",
    "Comparison",
    "CounterfactualConfig",
    "CounterfactualResult",
    "DampingScores",
    "DampingSearch",
    "Difference",
    "GroundTruth",
    "LDSConfig",
    "LossPlan",
    "MethodResult",
    "QueryGroup",
    "Reliability",
    "RetrainingConfig",
    "RetrievalResult",
    "SelfRetrievalConfig",
    "SubsetSpec",
    "check_agreement",
    "check_self_retrieval",
    "compare_methods",
    "compute_ceiling",
    "compute_difference",
    "compute_held_out_lds",
    "compute_lds",
    "draw_masks",
    "measure_losses",
    "measure_reliability",
    "read_training_config",
    "retrain",
    "run_counterfactual",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
