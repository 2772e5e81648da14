"""Format the result of an LDS comparison as text."""

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
    "training on it, mean over queries, with 95 % intervals. Damping: default uses no loss; "
    "cross-validated is chosen on other subsets and queries than it is evaluated on; oracle is "
    "chosen on the data of the evaluation, an upper bound and not a result. Of ceiling: share of "
    "the score of a second set of retrained models of the same size. Totals: predicted from totals "
    "per contributor alone. %: quantiles over queries. M: from this number of subsets. Bootstrap: "
    "mean and standard deviation over resampled subsets, as in the tables of the D-TRAK paper."
)


def format_comparison(comparison: Comparison) -> str:
    """Format the tables of every group of queries, then a legend."""
    facts = comparison.facts
    truth = f"{facts['subsets']} subsets of {facts['images']:,} images, {_seeds(facts['seeds'])}"
    groups = [_format_group(group, truth) for group in comparison.groups]
    return "\n\n".join([*groups, textwrap.fill(LEGEND, WIDTH)])


def _format_group(group: QueryGroup, truth: str) -> str:
    """Format the LDS on one group of queries, then quantiles and convergence."""
    n = len(group.query_names)
    queries = f"{group.name}: {n:,} {'query' if n == 1 else 'queries'}, {truth}"
    totals = any(result.totals is not None for result in group.results)
    header = ["method", "damping", "LDS", "over subsets", "over queries", "of ceiling"]
    if totals:
        header.append("totals")
    rows = [row for result in group.results for row in _rows(result, group.ceiling, totals)]
    main = table(header, rows, right=range(2, len(header)), indent=2)
    return "\n".join([queries, _format_ceiling(group.ceiling), main, "", _format_spread(group)])


def _format_ceiling(ceiling: Ceiling | None) -> str:
    if ceiling is None:
        return "ceiling: unknown with 1 seed"
    return (
        f"ceiling: seed to seed {_percent(ceiling.seed_to_seed)} "
        f"({_interval(ceiling.interval)}), means of {ceiling.seeds} seeds "
        f"{_percent(ceiling.mean_to_mean)}"
    )


def _rows(result: MethodResult, ceiling: Ceiling | None, totals: bool) -> Iterator[list[str]]:
    for i, (choice, lds) in enumerate(result.variants()):
        share = None if ceiling is None else ceiling.share(lds.mean)
        row = [
            result.title if i == 0 else "",
            choice,
            _percent(lds.mean),
            _interval(lds.interval),
            _interval(lds.query_interval),
            "-" if share is None else f"{share:.0%}",
        ]
        if totals:
            totals_lds = result.totals if i == 0 else None
            row.append("" if totals_lds is None else _percent(totals_lds.mean))
        yield row


def _format_spread(group: QueryGroup) -> str:
    """Format quantiles over queries and the LDS from fewer subsets, at default settings."""
    scores = [(result.title, result.lds) for result in group.results]
    percents = scores[0][1].quantiles
    sizes = sorted({size for _, lds in scores for size in lds.convergence})
    convergence = [f"M={size}" for size in sizes]
    header = ["own settings", *(f"{p} %" for p in percents), *convergence, "bootstrap"]

    def row(title: str, lds: LDS) -> list[str]:
        values = [
            _percent(float(lds.convergence[size].mean())) if size in lds.convergence else "-"
            for size in sizes
        ]
        mean, std = lds.bootstrap_mean_and_std
        bootstrap = f"{_percent(mean)} ± {_percent(std)}"
        return [title, *map(_percent, lds.quantiles.values()), *values, bootstrap]

    return table(header, [row(*score) for score in scores], right=range(1, len(header)), indent=2)


def _percent(value: float) -> str:
    return f"{100 * value:z.1f}"


def _interval(interval: Interval) -> str:
    return f"{_percent(interval[0])} to {_percent(interval[1])}"


def _seeds(n: int) -> str:
    return f"{n} seed{'s' * (n > 1)} each"
