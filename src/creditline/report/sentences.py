"""Sentences of the report about one query image, composed from its scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from statistics import NormalDist

from creditline.credit.totals import Total, chance_intervals
from creditline.records import Hit, MethodCard, QueryTrace, Removal, TraceRecord
from creditline.records.removal import LEAST, NOTHING, OTHER_SEED, RANDOM
from creditline.report.figures import between, percent, query_axis, shorten, signed
from creditline.report.text import text_for


def isolate(text: str) -> str:
    """Put the text between Unicode isolates, so that right-to-left names keep to themselves."""
    return f"\u2068{text}\u2069"


def caption(text: str | None, name: str) -> str:
    """Return the caption if there is one, else the last part of the file's path."""
    return shorten(text or "") or shorten(PurePosixPath(name).name or name)


def hit_phrase(hit: Hit) -> str:
    """Return the image's caption or file name in quotation marks and its contributor if known."""
    phrase = f"“{isolate(caption(hit.text, hit.name))}”"
    return f"{phrase} by {isolate(shorten(hit.contributor))}" if hit.contributor else phrase


def distance(z: float) -> str:
    """Describe a distance from the mean score."""
    return f"{signed(abs(z), 1).lstrip('+')} sd {'above' if z >= 0 else 'below'} the mean"


def credit_line(trace: TraceRecord, position: int) -> str:
    """Name one query's first training image and, over all images, its first contributor."""
    query, text = trace.queries[position], text_for(trace.method)
    if not query.proponents or (trace.method.causal and query.proponents[0].score <= 0):
        return "No training image scores above zero for this query image."
    if query.n_above_noise == 0:
        return (
            "No training image scores above the noise of this query's scores, so none can be "
            "named. More timesteps or noise draws lower the noise."
        )
    hit = query.proponents[0]
    number = query_axis(query).number(hit.score)
    verb = text.region_verb if query.region else text.verb
    first = f"{verb} {hit_phrase(hit)} ({number}, {distance(hit.z)})"
    totals = query.totals.get("contributor", ())
    named = [total for total in totals if total.name]
    if len(named) < 2:
        return f"{first}."
    if not trace.method.causal:
        best = max(named, key=lambda total: total.top)
        return (
            f"{first}; {best.top} of the {len(query.proponents)} most similar are by "
            f"{isolate(shorten(best.name or ''))}."
        )
    return f"{first}; over all images {verdict(totals)}."


def answer(trace: TraceRecord) -> str:
    """Say whom several query images together owe most to; empty for one, or without groups."""
    if len(trace) < 2 or not trace.method.causal or "contributor" not in trace.columns:
        return ""
    totals = trace.overall()
    if sum(bool(total.name) for total in totals) < 2:
        return ""
    return f"Over {len(trace)} query images together, {verdict(totals)}."


def verdict(totals: Sequence[Total]) -> str:
    """Say who has the largest share, unless chance or noise could explain it.

    Args:
        totals: of all groups, two or more of them named, largest share first.
    """
    pairs = zip(totals, chance_intervals(totals), strict=True)
    named, chances = zip(*[pair for pair in pairs if pair[0].name], strict=True)
    best, second = named[0], named[1]
    name, share = isolate(shorten(best.name or "")), percent(best.share)
    if all(
        chance is not None and _low(total) <= chance[1]
        for total, chance in zip(named, chances, strict=True)
    ):
        return (
            f"no contributor stands out: the largest share is {share}, {name}’s, "
            f"and chance would give {between(chances[0] or (0.0, 1.0))}"
        )
    low, high = _low(best), second.share_interval
    if high is not None and low <= high[1]:
        other = isolate(shorten(second.name or ""))
        return (
            f"{name} and {other} have the largest shares of positive credit, "
            f"{share} and {percent(second.share)}, and the noise could turn their order around"
        )
    by_chance = f", where chance would give {between(chances[0])}" if chances[0] else ""
    return (
        f"{name} has the largest share of positive credit, {share}, with "
        f"{percent(best.n / sum(total.n for total in totals))} of the images{by_chance}"
    )


def _low(total: Total) -> float:
    return total.share if total.share_interval is None else total.share_interval[0]


def removal_label(removal: Removal, method: MethodCard) -> str:
    """Say which training images were left out of a retraining."""
    if removal.rule == NOTHING:
        return "trained again, nothing left out"
    if removal.rule == OTHER_SEED:
        return "trained again with another seed"
    if removal.rule == RANDOM:
        return f"without {removal.k} random images"
    if removal.rule == LEAST:
        return f"without the {removal.k} of least influence"
    title = method.title if removal.rule == method.name else removal.rule
    return f"without the first {removal.k} by {title}"


def region_note(query: QueryTrace) -> str:
    """Explain that only a region of the image was traced; empty where all of it was."""
    if query.region is None:
        return ""
    return (
        f"Traced: {query.region}. Scores are about the model's loss on this region alone; what is "
        "grayed out does not count."
    )


def highest_by_chance(n: int) -> float:
    """Estimate the highest of `n` draws from a normal distribution, in standard deviations.

    Blom's approximation of the expected largest order statistic (Blom, 1958).
    """
    return NormalDist().inv_cdf((n - 0.375) / (n + 0.25)) if n > 1 else 0.0


def evidence(trace: TraceRecord, position: int) -> str:
    """Say whether one query's first image stands out, and how many images score above zero."""
    query = trace.queries[position]
    if not query.proponents:
        return ""
    chance = highest_by_chance(trace.n_train)
    z = query.proponents[0].z
    normal = f"the highest of {trace.n_train:,} normally distributed scores lies near {chance:.1f}"
    if z > 1.5 * chance:
        verdict = f"The first image stands out: {normal} sd."
    elif z > chance:
        verdict = f"The first image stands out a little: {normal} sd."
    else:
        verdict = f"The first image does not stand out: {normal} sd."
    if not trace.method.causal:
        return verdict
    positive = (
        f"{verdict} {query.n_positive:,} of {trace.n_train:,} images "
        f"({percent(query.n_positive / trace.n_train)}) score above zero"
    )
    if query.error is None or query.reliability is None:
        return f"{positive}."
    error = query_axis(query).number(query.error).lstrip("+")
    return (
        f"{positive}, {query.n_above_noise:,} by more than three standard errors (about {error} "
        "each). Scores computed again with fresh noise would correlate with these at about "
        f"{query.reliability:.2f}."
    )
