"""Fixed text of the report: what a score supports, in plain language, and what it does not.

Causal methods (`MethodCard.causal`) say "owes"; similarity methods only say "similar". Published
agreement figures are linear datamodeling scores of the D-TRAK paper (Zheng et al., ICLR 2024).
"""

from __future__ import annotations

from dataclasses import dataclass

from creditline.records import MethodCard


@dataclass(frozen=True)
class ReportText:
    """Headings and explanations for one kind of method; pairs are (heading, text)."""

    verb: str
    region_verb: str
    heading_one: str
    heading_many: str
    lead: str
    proponents: tuple[str, str]
    opponents: tuple[str, str]
    totals: str
    share: str
    overall: str
    proponent_of: str
    opponent_of: str
    order: str
    meaning: tuple[tuple[str, str], ...]
    limits: tuple[tuple[str, str], ...]


_COMMON_LIMITS = (
    (
        "Not a probability",
        "Scores have no unit. They can be compared within one query image, not between query "
        "images or methods. Each score therefore comes with its distance from the query's mean "
        "score, in standard deviations (sd).",
    ),
    (
        "Not a legal claim, nor a basis for payment on its own",
        "Other methods, settings or another training run of the same model give other lists. Two "
        "good methods often share only about a third of their top images.",
    ),
)

CAUSAL = ReportText(
    verb="Owes most to",
    region_verb="This region owes most to",
    heading_one="What this image owes, and to whom",
    heading_many="What {count} images owe, and to whom",
    lead="{subject} traced to the {n:,} images the model was trained on, by {method}.",
    proponents=("Proponents", "Training on these images is estimated to have helped."),
    opponents=("Opponents", "Training on these images is estimated to have hindered."),
    totals="Credit by {column}",
    share="share of positive credit",
    overall="All query images together",
    proponent_of="Proponent of",
    opponent_of="Opponent of",
    order="Proponents of most query images come first, ties by the sum of their distances from the "
    "mean score. Images that are opponents only come last.",
    meaning=(
        (
            "What a score is",
            "An estimate of what training on one image did to the model's loss on the query "
            "image, that is, how well the model can generate it. The estimate is computed, not "
            "observed. A score above zero: the training image lowered the loss (a proponent). "
            "Below zero: it raised the loss (an opponent).",
        ),
        (
            "What a share is",
            "The positive scores of one contributor's images, divided by all positive scores, "
            "after the score transform that is named at the end of this page. Shares add up to "
            "one. The range in brackets is what fresh noise would give. The sum beside it also "
            "counts negative scores, so a contributor can have a large share and a sum near zero.",
        ),
    ),
    limits=(
        (
            "Weak evidence one by one, stronger in numbers",
            "Evaluated by leaving images out and retraining, the better methods of this kind "
            "predict the change with a rank correlation of about 0.15 to 0.35, simpler ones with "
            "less. Trust a pattern over many images before a single score.",
        ),
        (
            "A positive score is not copying",
            "It says that the training image helped, as thousands of others did. To find copies, "
            "look at the images and use a similarity search.",
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
            "Above the noise is not beyond doubt",
            "Scores are computed from random noise. Where the resulting error is known, a thin "
            "line extends three standard errors either way, and scores that could be noise are "
            "gray. The error covers the same computation with fresh noise. It does not cover "
            "another training run or another method.",
        ),
        *_COMMON_LIMITS,
    ),
)

SIMILARITY = ReportText(
    verb="Most similar to",
    region_verb="This region is most similar to",
    heading_one="What this image is similar to",
    heading_many="What {count} images are similar to",
    lead="{subject} compared with the {n:,} images the model was trained on, by {method}.",
    proponents=("Most similar", "The training images most similar to the query image."),
    opponents=("Least similar", "The training images least similar to the query image."),
    totals="Similarity by {column}",
    share="share of positive similarity",
    overall="All query images together",
    proponent_of="Among the most similar to",
    opponent_of="Among the least similar to",
    order="Images that are among the most similar to most query images come first, ties by the sum "
    "of their distances from the mean score.",
    meaning=(
        (
            "What a score is",
            "How similar two images are by this measure. It compares the images only and knows "
            "nothing of the model: an image the model learned nothing from can come first, and "
            "one it learned much from can come last.",
        ),
        (
            "What a share is",
            "The positive scores of one contributor's images, divided by all positive scores. "
            "If a measure finds all images somewhat similar, the share is close to the share of "
            "the training images.",
        ),
    ),
    limits=(
        (
            "Not what training did",
            "Evaluated by leaving images out and retraining, similarity predicts the change with "
            "a rank correlation mostly below 0.11. It can support the result of a gradient-based "
            "method; it cannot replace it.",
        ),
        (
            "Similarity is not copying",
            "Images of the same thing are similar although neither was made from the other.",
        ),
        *_COMMON_LIMITS,
    ),
)


def text_for(method: MethodCard) -> ReportText:
    """Return the text that matches what the method's scores mean."""
    return CAUSAL if method.causal else SIMILARITY
