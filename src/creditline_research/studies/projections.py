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
from creditline.gradients.spec import BITS
from creditline.settings import override, require, setting, to_dict, validate_settings

LAYOUTS = ("joint", *get_args(Budget))
EXPLICIT, EXPLICIT_BITS = Projection("none"), 32


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
    bits: tuple[int, ...] = setting(
        (16,), "bits of each stored number: one for all dimensions, or one for each", bounds=COUNT
    )
    methods: tuple[str, ...] = setting(("trak", "d-trak"), "bilinear methods on gradients")
    ranks: tuple[int, ...] = setting((64,), "ranks of the two-sided ones", bounds=COUNT)

    def __post_init__(self) -> None:
        validate_settings(self)
        require(
            len(self.bits) in (1, len(self.dims)) and set(self.bits) <= set(BITS),
            f"bits are one or {len(self.dims)} of {', '.join(map(str, BITS))}",
            self.bits,
            "Give one for all dims, or one for each.",
        )

    def each(self) -> Iterator[tuple[Projection, int]]:
        """Yield every projection with its bits, explicit gradients first.

        Raises:
            SettingsError: on an unknown name.
        """
        yield EXPLICIT, EXPLICIT_BITS
        bits = self.bits if len(self.bits) > 1 else self.bits * len(self.dims)
        sizes = list(zip(self.dims, bits, strict=True))
        for kind, layout, (dim, own) in product(self.kinds, self.layouts, sizes):
            if layout not in LAYOUTS:
                raise unknown("layout", layout, LAYOUTS)
            joint = layout == "joint"
            settings = {"layout": "joint"} if joint else {"layout": "layers", "budget": layout}
            projection = override(Projection(), {**settings, "projection": kind, "dim": dim})
            ranks = self.ranks if "rank" in projection.projector.settings else [projection.rank]
            yield from ((replace(projection, rank=rank), own) for rank in ranks)


@dataclass(frozen=True)
class ProjectionRow:
    """One method through one projection.

    Attributes:
        method: title.
        timesteps: per training image.
        projection: settings.
        bits: of each stored number.
        agreement: mean rank correlation with the scores of explicit gradients, over queries.
        lds: by folder of queries: LDS and the ends of its interval over subsets.
    """

    method: str
    timesteps: int
    projection: dict[str, Any]
    bits: int
    agreement: float
    lds: dict[str, tuple[float, float, float]]


def describe(projection: Projection, bits: int = 16) -> str:
    """Describe a projection in one line."""
    if projection.projection == "none":
        return "explicit gradients"
    rank = f" of rank {projection.rank}" if "rank" in projection.projector.settings else ""
    layout = layout_name(to_dict(projection))
    return f"{projection.projection}{rank}, {layout}, k = {projection.dim:,}, {bits} bits"


def layout_name(projection: dict[str, Any]) -> str:
    """Name the layout of a projection, with its budget."""
    if projection["layout"] == "joint":
        return "joint"
    return (
        "by layer, "
        + {"sqrt": "√size", "size": "size", "variance": "variance"}[projection["budget"]]
    )
