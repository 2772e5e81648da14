"""EK-FAC influence and D-TRAK added up, each in units of its own spread.

    score(q, i) = s_ekfac(q, i) / sd_i s_ekfac(q, .) + w s_d-trak(q, i) / sd_i s_d-trak(q, .)

The two see different things: the gradient of the training loss under the network's curvature, and
that of the output's squared norm under the covariance of such gradients. Neither has a scale that
the other could be compared with, but for the spread of its scores over training images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from creditline.bounds import COUNT, NOT_NEGATIVE, Bounds
from creditline.curvature.ridge import Ridge
from creditline.gradients.objective import Objective
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.d_trak import DTRAK
from creditline.methods.ekfac import EKFACInfluence, whitened_features
from creditline.methods.gradient_method import GradientMethod
from creditline.methods.score_transform import ScoreTransform
from creditline.methods.spread_sum import SpreadSum
from creditline.settings import group, require, setting


@dataclass
class Combined(SpreadSum, GradientMethod):
    """Sum of EK-FAC influence and D-TRAK, each divided by the spread of a query's scores."""

    name: ClassVar = "combined"
    title: ClassVar = "EK-FAC + D-TRAK"
    paper: ClassVar = "Mlodozeniec et al., ICLR 2025; Zheng et al., ICLR 2024"
    formula: ClassVar = "s_ekfac / sd(s_ekfac) + w · s_d-trak / sd(s_d-trak)"
    needs: ClassVar = "a model; several models for the ensemble"
    cost: ClassVar = "2·n·t backward passes, 2,000 for curvature, k³ once; 2·max(t, 80) per query"

    features: FeatureSpec = group(lambda: whitened_features("ekfac"), affects="features")
    square_norm_dim: int = setting(
        4096,
        "largest projection dimension of D-TRAK's features; never more than that of EK-FAC's",
        affects="features",
        bounds=COUNT,
    )
    square_norm_rank: int = setting(
        64, "rank of the projection of D-TRAK's features", affects="features", bounds=COUNT
    )
    square_norm_bits: int = setting(
        8,
        "bits of each number of D-TRAK's features: 16, 8 or 4; fewer do not suffice",
        affects="features",
        bounds=Bounds(4, 16),
    )
    square_norm_weight: float = setting(
        1.0,
        "weight of D-TRAK's scores beside those of EK-FAC",
        affects="scores",
        bounds=NOT_NEGATIVE,
    )
    ridge: Ridge = group(lambda: Ridge(damping=1.0), affects="factors")
    score_transform: ScoreTransform = group(lambda: ScoreTransform("rectified"), affects="scores")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.square_norm_bits in (16, 8, 4),
            "square_norm_bits are one of 16, 8, 4",
            self.square_norm_bits,
            "Try 8.",
        )

    def terms(self) -> Mapping[str, tuple[float, BilinearAttributor]]:
        d_trak = replace(
            self.features,
            objective=Objective("square-norm"),
            projection=Projection(
                dim=min(self.square_norm_dim, self.features.projection.dim),
                projection_seed=self.features.projection.projection_seed,
                rank=self.square_norm_rank,
            ),
            preconditioning=Preconditioning(),
            bits=self.square_norm_bits,
        )
        return {
            "loss": (
                1.0,
                EKFACInfluence(
                    self.features, self.query_draws, self.query_objective, self.query_timesteps
                ),
            ),
            "square-norm": (
                self.square_norm_weight,
                DTRAK(
                    d_trak,
                    self.query_draws,
                    query_timesteps=self.query_timesteps,
                    ridge=self.ridge,
                ),
            ),
        }
