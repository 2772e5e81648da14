"""Bilinear methods on gradients of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self

from creditline.bounds import DRAWS, NOT_NEGATIVE
from creditline.errors import IndexMismatchError, SettingsError, difference
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.objective import Objective
from creditline.gradients.spec import FeatureSpec
from creditline.methods.attributor import Attributor
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.capabilities import Capabilities
from creditline.methods.score_transform import ScoreTransform
from creditline.settings import group, setting, to_dict

QUERY_EVALUATIONS = 80


@dataclass
class GradientMethod(BilinearAttributor):
    """Base of methods on gradients.

    Queries are few and training images many, so a query can afford more noise draws than an index:
    its own noise is half of what separates an image from its own entry (docs/measurements.md).
    """

    capabilities: ClassVar = Capabilities(
        kind="bilinear",
        features="gradients",
        models="final",
        has_noise=True,
        self_influence=True,
        regions=True,
        searchable=True,
        updatable=True,
    )

    features: FeatureSpec = group(FeatureSpec, affects="features")
    query_draws: int | None = setting(
        None,
        f"noise draws at each timestep of a query; none: {QUERY_EVALUATIONS} passes or more",
        affects="scores",
        bounds=DRAWS,
    )
    query_objective: Literal["same", "simple", "elbo", "square-norm", "average"] = setting(
        "same",
        "what is measured at a query, whose gradient its feature is; same: as at training images",
        affects="scores",
    )
    query_timesteps: tuple[int, ...] = setting(
        (),
        "timesteps of a query; none: as many as a training image has",
        affects="scores",
        bounds=NOT_NEGATIVE,
    )
    score_transform: ScoreTransform = group(ScoreTransform, affects="scores")

    def check_given(self, settings: Mapping[str, Any]) -> None:
        plan = self.features.plan
        if settings.get("halves") and not self.features.halvable(plan.timesteps, plan.draws):
            raise SettingsError(
                "A split-half noise estimate needs two or more evaluations of an image (timesteps "
                f"x draws); got {plan.timesteps} x {plan.draws}. Leave halves=True (--halves) out, "
                "or use more."
            )
        projection = self.features.projection
        for name in [f.name for f in fields(projection)[1:] if f.name in settings]:
            projection.require_use(name)  # also where it is the default

    @property
    def query_measure(self) -> Objective | None:
        if self.query_objective == "same":
            return None
        return replace(self.features.objective, objective=self.query_objective)

    @property
    def query_plan(self) -> NoisePlan:
        plan = self.features.plan
        if self.query_timesteps:
            steps = self.query_timesteps
            plan = replace(plan, schedule="list", timestep_list=steps, timesteps=len(steps))
        return plan_of_queries(plan, self.query_draws)

    @property
    def alternates(self) -> bool:
        train, query = self.features.plan, self.query_plan
        if (train.schedule, train.timesteps) != (query.schedule, query.timesteps):
            return False
        separate = self.features.normalize == "timestep"
        return separate or (train.draws % 2 == 1 and query.draws % 2 == 1)

    @classmethod
    def sharing(cls, other: Attributor) -> Self:
        method = super().sharing(other)
        held: Any = method.features.objective
        default = cls().features.objective
        if held != default:
            raise IndexMismatchError(
                f"{cls.title} differentiates another objective than this index holds:\n"
                + "\n".join(difference(to_dict(held), to_dict(default)))
                + f"\nBuild an index with --method {cls.name}, or pass an instance with the "
                "settings you mean."
            )
        held, own = (x.features.preconditioning.preconditioner for x in (method, cls()))
        if held != own:
            raise IndexMismatchError(
                f"{cls.title} needs features with the preconditioner {own!r}, and this index holds "
                f"them with {held!r}. Build an index with --method {cls.name}, or pass an instance "
                "with the settings you mean."
            )
        return method


def plan_of_queries(plan: NoisePlan, draws: int | None) -> NoisePlan:
    """Return the noise plan of queries.

    Args:
        plan: of training images.
        draws: at each timestep; None: as many as make `QUERY_EVALUATIONS`, or the plan's if those
            are more.
    """
    if draws is None:
        # Shared noise is the same on both sides, draw by draw.
        enough = 1 if plan.shared_noise else -(-QUERY_EVALUATIONS // plan.timesteps)
        draws = max(plan.draws, enough)
    return replace(plan, draws=draws)
