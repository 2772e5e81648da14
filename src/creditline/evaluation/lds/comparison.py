"""Comparison: methods and baselines on one index, judged by one ground truth.

Every folder of queries is judged by itself, then all together where there are several. Beside the
methods stand a random predictor, which shows how far from 0 chance alone goes, and likeness of
pixels, which needs no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from creditline.evaluation.lds.ceiling import Ceiling
from creditline.evaluation.lds.damping import DampingScores
from creditline.evaluation.lds.score import LDS

OVERALL = "all queries"


@dataclass(frozen=True, eq=False)
class MethodResult:
    """One method on one set of queries.

    Attributes:
        name: as typed.
        title: as printed.
        lds: at the method's own settings; of a method that learns from retrained models, on
            subsets it has not seen.
        dampings: the default, cross-validated and best damping; None for methods without one.
        totals: the score of its totals per contributor; None where contributors are not known or
            have the same share in all subsets.
    """

    name: str
    title: str
    lds: LDS
    dampings: DampingScores | None = None
    totals: LDS | None = None

    def variants(self) -> list[tuple[str, LDS]]:
        """What was chosen how, and the score: one row each of a table."""
        d = self.dampings
        if d is None:
            return [("", self.lds)]
        rows = [(f"default {d.default_damping:g}", d.default)]
        if d.cross_validated is not None:
            often = max(d.choice_shares, key=lambda damping: d.choice_shares[damping])
            rows.append((f"cross-validated {often:g}", d.cross_validated))
        return [*rows, (f"oracle {d.oracle_damping:g}", d.oracle)]

    def to_dict(self, ceiling: Ceiling | None) -> dict[str, Any]:
        """JSON-ready, shares of the ceiling included."""
        values: dict[str, Any] = {"method": self.name, "title": self.title, **self.lds.to_dict()}
        if ceiling is not None:
            values["share_of_ceiling"] = ceiling.share(self.lds.mean)
        if self.dampings is not None:
            values["dampings"] = self.dampings.to_dict()
            for variant in values["dampings"].values():
                if ceiling is not None and variant is not None and "lds" in variant:
                    variant["share_of_ceiling"] = ceiling.share(variant["lds"])
        if self.totals is not None:
            values["totals_per_contributor"] = self.totals.to_dict()
        return values


@dataclass(frozen=True, eq=False)
class QueryGroup:
    """All methods on one set of queries.

    Attributes:
        name: of the folder, or `OVERALL`.
        query_names: of its queries.
        ceiling: None for a ground truth of one seed.
        entries: in the order asked for, baselines last.
    """

    name: str
    query_names: tuple[str, ...]
    ceiling: Ceiling | None
    entries: tuple[MethodResult, ...]

    def entry(self, name: str) -> MethodResult:
        """The entry of the method typed as `name`.

        Raises:
            KeyError: if it was not compared.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "queries": list(self.query_names),
            "ceiling": None if self.ceiling is None else self.ceiling.to_dict(),
            "methods": [entry.to_dict(self.ceiling) for entry in self.entries],
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """The result.

    Attributes:
        parts: one per folder of queries, in order, then all together if there are several.
        facts: what was judged by what: numbers of images, subsets, seeds, digest of the truth.
    """

    parts: tuple[QueryGroup, ...]
    facts: Mapping[str, Any]

    def part(self, name: str) -> QueryGroup:
        """The part named `name`.

        Raises:
            KeyError: if there is none.
        """
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**self.facts, "parts": [part.to_dict() for part in self.parts]}
