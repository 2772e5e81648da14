"""A comparison of methods as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from creditline.cli.table import WIDTH, table
from creditline.evaluation.interval import Interval
from creditline.evaluation.lds.ceiling import Ceiling
from creditline.evaluation.lds.comparison import Comparison, MethodResult, QueryGroup
from creditline.evaluation.lds.score import LDS

LEGEND = (
    "LDS: rank correlation in % between the sum of a subset's scores and the negative loss after "
    "training on it, mean over queries; intervals 95 %. Damping: default looks at no loss; "
    "cross-validated is chosen on other subsets and other queries than it is judged on; oracle is "
    "chosen on what it is judged on, an upper bound and no result. Of ceiling: as a share of what "
    "a second set of trainings of the same size would score. Totals: predicted from sums per "
    "contributor alone. %: quantiles over queries. M: from so many subsets at a time. Bootstrap: "
    "mean and standard deviation over resampled subsets, the form of the D-TRAK paper's tables."
)


def shown(comparison: Comparison) -> str:
    """Every part, then what the columns mean."""
    facts = comparison.facts
    of = f"{facts['subsets']} subsets of {facts['images']:,} images, {_seeds(facts['seeds'])}"
    parts = [shown_part(part, of) for part in comparison.parts]
    return "\n\n".join([*parts, textwrap.fill(LEGEND, WIDTH)])


def shown_part(part: QueryGroup, of: str) -> str:
    """The scores on one set of queries, then how they spread and grow."""
    n = len(part.query_names)
    head = [f"{part.name}: {n:,} {'query' if n == 1 else 'queries'}, {of}", _bound(part.ceiling)]
    totals = any(entry.totals is not None for entry in part.entries)
    header = ["method", "damping", "LDS", "over subsets", "over queries", "of ceiling"]
    if totals:
        header.append("totals")
    rows = [row for entry in part.entries for row in _rows(entry, part.ceiling, totals)]
    main = table(header, rows, right=range(2, len(header)), indent=2)
    return "\n".join([*head, main, "", _spread(part)])


def _bound(ceiling: Ceiling | None) -> str:
    if ceiling is None:
        return "ceiling: not known, because there is 1 seed"
    return (
        f"ceiling: seed to seed {_percent(ceiling.seed_to_seed)} "
        f"({_interval(ceiling.interval)}), means of {ceiling.seeds} seeds "
        f"{_percent(ceiling.mean_to_mean)}"
    )


def _rows(entry: MethodResult, ceiling: Ceiling | None, totals: bool) -> Iterator[list[str]]:
    for i, (choice, lds) in enumerate(entry.variants()):
        share = None if ceiling is None else ceiling.share(lds.mean)
        row = [
            entry.title if i == 0 else "",
            choice,
            _percent(lds.mean),
            _interval(lds.interval),
            _interval(lds.query_interval),
            "-" if share is None else f"{share:.0%}",
        ]
        if totals:
            known = entry.totals if i == 0 else None
            row.append("" if known is None else _percent(known.mean))
        yield row


def _spread(part: QueryGroup) -> str:
    """Quantiles over queries, and the score from fewer subsets, at the methods' own settings."""
    scores = [(entry.title, entry.lds) for entry in part.entries]
    percents = scores[0][1].quantiles
    sizes = sorted({size for _, lds in scores for size in lds.convergence})
    grown_from = [f"M={size}" for size in sizes]
    header = ["own settings", *(f"{p} %" for p in percents), *grown_from, "bootstrap"]

    def row(title: str, lds: LDS) -> list[str]:
        grown = [
            _percent(float(lds.convergence[size].mean())) if size in lds.convergence else "-"
            for size in sizes
        ]
        mean, std = lds.bootstrap_mean_and_std
        bootstrap = f"{_percent(mean)} ± {_percent(std)}"
        return [title, *map(_percent, lds.quantiles.values()), *grown, bootstrap]

    return table(header, [row(*score) for score in scores], right=range(1, len(header)), indent=2)


def _percent(value: float) -> str:
    return f"{100 * value:z.1f}"


def _interval(interval: Interval) -> str:
    return f"{_percent(interval[0])} to {_percent(interval[1])}"


def _seeds(n: int) -> str:
    return f"{n} seed{'s' * (n > 1)} each"
