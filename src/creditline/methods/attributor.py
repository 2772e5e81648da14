"""The one interface of every attribution method.

A method is an estimator: its constructor stores settings, `fit` learns from a context (attributes
that it learns end in `_`), and `score` scores queries. A positive score means that training on the
image lowered the query's loss (a proponent), a negative score the contrary (an opponent).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from creditline.errors import SettingsError
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.objective import Objective
from creditline.methods.capabilities import Capabilities
from creditline.methods.fit_context import FitContext
from creditline.methods.score_transform import ScoreTransform
from creditline.methods.scores import QueryBatch, Scores
from creditline.settings import affecting, validate_settings


class Attributor(ABC):
    """Base of every method; subclasses are dataclasses of settings.

    Class attributes:
        name: as typed on the command line.
        title: as printed.
        paper: where the method comes from.
        formula: the score of query `q` and training image `i`.
        needs: what the user must have.
        cost: of indexing `n` images and of one query.
        capabilities: what the method needs and what can be done with it.
        query_block: most queries that are scored at once.
        score_transform: transform of the scores that credit is made of; a setting where a
            method's dataclass has it as a field.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    formula: ClassVar[str]
    needs: ClassVar[str]
    cost: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    query_block: ClassVar[int] = 16
    score_transform: ScoreTransform = ScoreTransform()
    context_: FitContext

    def __post_init__(self) -> None:
        """Check the settings; a subclass with further checks calls this first.

        Raises:
            SettingsError: naming the setting.
        """
        validate_settings(self)

    def check_given(self, settings: Mapping[str, Any]) -> None:
        """Refuse settings that were asked for and can have no effect.

        Args:
            settings: those that somebody gave, by name.

        Raises:
            SettingsError: naming the setting.
        """
        _ = settings  # by default all have one

    @abstractmethod
    def fit(self, context: FitContext) -> Self:
        """Learn from a context.

        Args:
            context: models, training images, features, losses of retrained models, cache.

        Returns:
            The method itself.
        """

    @abstractmethod
    def score(self, queries: QueryBatch) -> Scores:
        """Score every training image for every query.

        Raises:
            SettingsError: if the method is not fitted, or the queries lack what it needs.
        """

    @property
    def query_plan(self) -> NoisePlan | None:
        """Noise plan of queries; None where there is no noise."""
        return None

    @property
    def query_measure(self) -> Objective | None:
        """What is measured at a query; None where it is the same as at training images."""
        return None

    @property
    def keeps_timesteps(self) -> bool:
        """Whether a query is scored at each timestep separately."""
        return False

    def self_influence(self) -> np.ndarray | None:
        """Score of every training image for itself, float64 of shape `(n,)`, where known."""
        return None

    def facts(self) -> Mapping[str, Any]:
        """What fitting found that a reader of scores may want to know, JSON-ready."""
        return {}

    def unfitted(self) -> Self:
        """A copy without what `fit` learned."""
        return dataclasses.replace(self)  # type: ignore[type-var]

    def index_settings(self) -> dict[str, Any]:
        """Everything that decides the contents of an index.

        Methods with equal index settings share an index.
        """
        has, settings = self.capabilities, affecting(self, "features")
        return {"kind": has.kind, "features": has.features, **settings}

    @classmethod
    def sharing(cls, other: Attributor) -> Self:
        """A method of this class with the settings that it has in common with another one.

        A setting is common if both classes define it with the same default, or if the contents
        of an index depend on it.

        Raises:
            IndexMismatchError: if the other method's features are not this method's.
        """
        mine = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        shared = {}
        for theirs in dataclasses.fields(other):  # type: ignore[arg-type]
            name = theirs.name
            if name not in mine:
                continue
            same = _default(mine[name]) == _default(theirs)
            if same or mine[name].metadata.get("affects") == "features":
                shared[name] = getattr(other, name)
        return cls(**shared)

    def _require_fitted(self) -> FitContext:
        """The context that the method was fitted to.

        Raises:
            SettingsError: if it is not fitted.
        """
        if not hasattr(self, "context_"):
            raise SettingsError(f"{self.title} is not fitted. Call fit(context) first.")
        return self.context_


def _default(field: dataclasses.Field) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()
