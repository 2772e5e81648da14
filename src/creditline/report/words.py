"""The report's sentences: what a score lets us say, in plain words, and what it does not.

Two vocabularies keep apart what training did (methods with `causal=True`, "owes") from what merely
looks alike ("looks like"). Published agreement figures: linear datamodeling scores of the D-TRAK
paper's tables (Zheng et al., ICLR 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from statistics import NormalDist

from creditline.report.figures import percent, query_axis, shorten, signed
from creditline.trace import Hit, QueryTrace, Trace


@dataclass(frozen=True)
class ReportText:
    """Headings and explanations for one kind of method; pairs are (heading, text)."""

    verb: str
    heading_one: str
    heading_many: str
    lead: str
    near: tuple[str, str]
    far: tuple[str, str]
    totals: str
    share: str
    overall: str
    meaning: tuple[tuple[str, str], ...]
    limits: tuple[tuple[str, str], ...]


_COMMON = (
    (
        "Not a probability",
        "Scores have no unit. They can be compared within one picture, not between pictures or "
        "methods. That is why each comes with its distance from the picture's mean score, "
        "in standard deviations (sd).",
    ),
    (
        "Not a legal claim, nor a basis for payment on its own",
        "Other methods, settings or another training run of the same model give other lists. Two "
        "good methods often share only about a third of their top images.",
    ),
)

OWES = ReportText(
    verb="Owes most to",
    heading_one="What this picture owes, and to whom",
    heading_many="What {count} pictures owe, and to whom",
    lead="{what} traced to the {n:,} images the model was trained on, by {method}.",
    near=("Proponents", "Training on these is estimated to have helped with this picture."),
    far=("Opponents", "Training on these is estimated to have got in its way."),
    totals="Credit by {column}",
    share="share of positive credit",
    overall="All pictures together",
    meaning=(
        (
            "What a score is",
            "An estimate, computed and not observed, of what training on one image did to the "
            "model's loss on this picture, which is to say how well it can draw it. Above zero: "
            "the image lowered the loss (a proponent). Below zero: it raised it (an opponent).",
        ),
        (
            "What a share is",
            "All scores above zero of one contributor's images, as a part of all scores above "
            "zero, after the shape that is named at the end of this page. Shares add up to one; "
            "what stands in brackets is their range for fresh noise. The sum beside it counts the "
            "scores below zero as well, so a contributor can have a large share and a sum near "
            "nothing.",
        ),
    ),
    limits=(
        (
            "Weak evidence one by one, stronger in numbers",
            "Put to the test of leaving images out and training again, the better methods of this "
            "kind predict the change with a rank correlation of about 0.15 to 0.35, simpler ones "
            "with less. Trust a pattern over many images and pictures before a single score.",
        ),
        (
            "A positive score is not copying",
            "It says that the image helped, as thousands of others did. Whether a picture repeats "
            "an image is for the eye and for a similarity search to say.",
        ),
        (
            "Many images, more credit",
            "Sums and shares grow with the number of images, and small scores are mostly noise. "
            "Compare the share of the credit with the share of the training images, "
            "which is marked on every bar.",
        ),
        (
            "Duplicates divide",
            "Copies and near-copies in the training set share the credit that one of them would "
            "have had alone.",
        ),
        (
            "Above the noise is not above doubt",
            "Scores are computed from random noise. Where the error this leaves is known, a thin "
            "line reaches three standard errors either way, and what could be nothing but noise is "
            "gray. It says what the same computation would find again, "
            "not what another training run or another method would.",
        ),
        *_COMMON,
    ),
)

LOOKS = ReportText(
    verb="Looks most like",
    heading_one="What this picture looks like",
    heading_many="What {count} pictures look like",
    lead="{what} compared with the {n:,} images the model was trained on, by {method}.",
    near=("Most alike", "The training images most similar to this picture."),
    far=("Least alike", "The training images least similar to it."),
    totals="Likeness by {column}",
    share="share of positive likeness",
    overall="All pictures together",
    meaning=(
        (
            "What a score is",
            "How alike two pictures are to this measure. It looks at the pictures only and knows "
            "nothing of the model: an image the model learned nothing from can come first, and "
            "one it learned much from can come last.",
        ),
        (
            "What a share is",
            "All scores above zero of one contributor's images, as a part of all scores above "
            "zero. With a measure that finds everything somewhat alike, it is close to the share "
            "of the training images.",
        ),
    ),
    limits=(
        (
            "Not what training did",
            "Put to the test of leaving images out and training again, likeness predicts the "
            "change with a rank correlation mostly below 0.11. It can support what a "
            "gradient-based method finds; it cannot replace it.",
        ),
        (
            "Likeness is not copying",
            "Pictures of the same thing look alike without one coming from the other.",
        ),
        *_COMMON,
    ),
)


def words_for(trace: Trace) -> ReportText:
    """The vocabulary that the trace's method allows."""
    return OWES if trace.method.causal else LOOKS


def isolate(text: str) -> str:
    """The text between Unicode isolates, so that right-to-left names leave the sentence alone."""
    return f"\u2068{text}\u2069"


def caption(text: str | None, name: str) -> str:
    """A caption where there is one, else the last part of the file's path."""
    return shorten(text or "") or shorten(PurePosixPath(name).name or name)


def hit_phrase(hit: Hit) -> str:
    """The image's caption or file name in quotation marks and, where known, whose it is."""
    phrase = f"“{isolate(caption(hit.text, hit.name))}”"
    return f"{phrase} by {isolate(shorten(hit.contributor))}" if hit.contributor else phrase


def highest_by_chance(n: int) -> float:
    """Where the highest of `n` draws from a normal distribution lies, in standard deviations.

    Blom's approximation of the expected largest order statistic (Blom, 1958).
    """
    return NormalDist().inv_cdf((n - 0.375) / (n + 0.25)) if n > 1 else 0.0


def credit_line(trace: Trace, position: int) -> str:
    """One sentence for one query: its first image and, over all images, its first contributor."""
    query = trace.queries[position]
    if not query.proponents or (trace.method.causal and query.proponents[0].score <= 0):
        return "No training image scores above zero for this picture."
    if query.n_above == 0:
        return (
            "No training image stands above the noise of this picture's scores, so nobody can be "
            "named. More timesteps or noise draws would lower it."
        )
    hit = query.proponents[0]
    number = query_axis(query).number(hit.score)
    verb = words_for(trace).verb
    verb = f"This part of it {verb.lower()}" if query.region else verb
    first = f"{verb} {hit_phrase(hit)} ({number}, {distance(hit.z)})"
    named = [total for total in query.totals.get("contributor", ()) if total.name]
    if len(named) < 2:
        return f"{first}."
    if not trace.method.causal:
        best = max(named, key=lambda total: total.top)
        return (
            f"{first}; {best.top} of the {len(query.proponents)} most alike are by "
            f"{isolate(shorten(best.name or ''))}."
        )
    best = named[0]
    whose = isolate(shorten(best.name or ""))
    same = " also" if best.name == hit.contributor else ""
    return (
        f"{first}; over all images the largest share of its positive credit, "
        f"{percent(best.share)}, is{same} with {whose}, who made "
        f"{percent(best.n / trace.n_train)} of them."
    )


def region_note(query: QueryTrace) -> str:
    """What it means that only a part of the picture was traced; empty where all of it was."""
    if query.region is None:
        return ""
    return (
        f"Traced: {query.region}. Scores say what training did to the model's loss on this part "
        "alone; what lies under the veil has no say in them."
    )


def distance(z: float) -> str:
    """A distance from the mean in words."""
    return f"{signed(abs(z), 1).lstrip('+')} sd {'above' if z >= 0 else 'below'} the mean"


def evidence(trace: Trace, position: int) -> str:
    """Whether the first image stands out of so many, and how many score above zero."""
    query = trace.queries[position]
    if not query.proponents:
        return ""
    chance = highest_by_chance(trace.n_train)
    z = query.proponents[0].z
    bell = f"the highest of {trace.n_train:,} scores from a bell curve would lie near {chance:.1f}"
    if z > 1.5 * chance:
        verdict = f"The first image stands out: {bell} sd."
    elif z > chance:
        verdict = f"The first image stands out a little: {bell} sd."
    else:
        verdict = f"The first image does not stand out: {bell} sd."
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
        f"{positive}, {query.n_above:,} by more than three standard errors (about {error} each). "
        "Computed again with fresh noise, the scores would correlate with these at about "
        f"{query.reliability:.2f}."
    )
