"""Projections to compare, and the result of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

from creditline.bounds import COUNT
from creditline.errors import unknown
from creditline.gradients.projection import Projection
from creditline.gradients.projection.settings import Budget
from creditline.settings import override, setting, to_dict, validate_settings

LAYOUTS = ("joint", *get_args(Budget))
EXPLICIT = Projection("none")


@dataclass(frozen=True)
class ProjectionStudy:
    """Settings of the comparison."""

    kinds: tuple[str, ...] = setting(
        ("two-sided", "principal", "count-sketch", "gaussian"), "kinds of projection"
    )
    layouts: tuple[str, ...] = setting(
        ("joint", "sqrt", "size", "variance"),
        "layouts of each: joint, or by layer in proportion to a budget (sqrt, size, variance)",
    )
    dims: tuple[int, ...] = setting((4096,), "projection dimensions", bounds=COUNT)
    ranks: tuple[int, ...] = setting((64,), "ranks of the two-sided ones", bounds=COUNT)

    def __post_init__(self) -> None:
        validate_settings(self)

    def each(self) -> Iterator[Projection]:
        """Yield every projection, explicit gradients first.

        Raises:
            SettingsError: on an unknown name.
        """
        yield EXPLICIT
        for kind, layout, dim in product(self.kinds, self.layouts, self.dims):
            if layout not in LAYOUTS:
                raise unknown("layout", layout, LAYOUTS)
            joint = layout == "joint"
            settings = {"layout": "joint"} if joint else {"layout": "layers", "budget": layout}
            projection = override(Projection(), {**settings, "projection": kind, "dim": dim})
            ranks = self.ranks if "rank" in projection.projector.settings else [projection.rank]
            yield from (replace(projection, rank=rank) for rank in ranks)


@dataclass(frozen=True)
class ProjectionRow:
    """One method through one projection.

    Attributes:
        method: title.
        timesteps: per training image.
        projection: settings.
        agreement: mean rank correlation with the scores of explicit gradients, over queries.
        lds: by folder of queries: LDS and the ends of its interval over subsets.
    """

    method: str
    timesteps: int
    projection: dict[str, Any]
    agreement: float
    lds: dict[str, tuple[float, float, float]]


def describe(projection: Projection) -> str:
    """Describe a projection in one line."""
    if projection.projection == "none":
        return "explicit gradients"
    rank = f" of rank {projection.rank}" if "rank" in projection.projector.settings else ""
    return (
        f"{projection.projection}{rank}, {layout_name(to_dict(projection))}, k = {projection.dim:,}"
    )


def layout_name(projection: dict[str, Any]) -> str:
    """Name the layout of a projection, with its budget."""
    if projection["layout"] == "joint":
        return "joint"
    return (
        "by layer, "
        + {"sqrt": "√size", "size": "size", "variance": "variance"}[projection["budget"]]
    )
