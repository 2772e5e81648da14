"""The result of a comparison: LDS of methods and baselines on every group of queries.

Each folder of queries is a group, and all queries together form another group if there are several
folders. The baselines are a random predictor, which shows the size of chance, and methods that need
no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from creditline.evaluation.lds.ceiling import Ceiling
from creditline.evaluation.lds.damping import DampingScores
from creditline.evaluation.lds.score import LDS


@dataclass(frozen=True, eq=False)
class MethodResult:
    """LDS of one method on one group of queries.

    Attributes:
        name: name of the method.
        title: printed title of the method.
        lds: LDS at the method's own settings; for subset methods, on held-out subsets.
        dampings: LDS at the default, cross-validated and best damping; None for methods without
            damping.
        totals: LDS of totals per contributor; None where contributors are unknown or have the same
            share in all subsets.
    """

    name: str
    title: str
    lds: LDS
    dampings: DampingScores | None = None
    totals: LDS | None = None

    def variants(self) -> list[tuple[str, LDS]]:
        """Return the label and LDS of each choice of damping, one for each row of a table."""
        dampings = self.dampings
        if dampings is None:
            return [("", self.lds)]
        rows = [(f"default {dampings.default_damping:g}", dampings.default)]
        if dampings.cross_validated is not None:
            shares = dampings.choice_shares
            most_frequent = max(shares, key=lambda damping: shares[damping])
            rows.append((f"cross-validated {most_frequent:g}", dampings.cross_validated))
        return [*rows, (f"oracle {dampings.oracle_damping:g}", dampings.oracle)]

    def to_dict(self, ceiling: Ceiling | None) -> dict[str, Any]:
        """Return JSON-ready values, with shares of the ceiling."""
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
    """LDS of all methods on one group of queries.

    Attributes:
        name: name of the folder, or `"all queries"`.
        query_names: names of the queries.
        ceiling: agreement of training seeds; None for a ground truth with one seed.
        results: one result for each method, baselines last.
    """

    name: str
    query_names: tuple[str, ...]
    ceiling: Ceiling | None
    results: tuple[MethodResult, ...]

    def result(self, method: str) -> MethodResult:
        """Return the result of a method by its name.

        Raises:
            KeyError: if the method was not compared.
        """
        for result in self.results:
            if result.name == method:
                return result
        raise KeyError(method)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "name": self.name,
            "queries": list(self.query_names),
            "ceiling": None if self.ceiling is None else self.ceiling.to_dict(),
            "methods": [result.to_dict(self.ceiling) for result in self.results],
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """LDS of all methods on all groups of queries.

    Attributes:
        groups: one group for each folder of queries, then all queries if there are several.
        facts: numbers of images, subsets and seeds, settings, and digest of the ground truth.
    """

    groups: tuple[QueryGroup, ...]
    facts: Mapping[str, Any]

    def group(self, name: str) -> QueryGroup:
        """Return a group by its name.

        Raises:
            KeyError: if there is no such group.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**self.facts, "groups": [group.to_dict() for group in self.groups]}
