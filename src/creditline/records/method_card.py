"""Description of a method for readers of its scores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodCard:
    """Description of the method behind the scores.

    Args:
        name: under which the method is registered.
        title: for people.
        paper: source of the method.
        formula: of a score.
        causal: True if a score estimates what training did to the query's loss; False if it only
            measures how similar two images are.
        transform: formula of the score transform that shares are made of, as a function of the
            score s; negative values count as 0.
    """

    name: str
    title: str
    paper: str
    formula: str
    causal: bool = True
    transform: str = "s"

    @property
    def meaning(self) -> str:
        """One line that says what a score of this method means."""
        if self.causal:
            return (
                "score > 0: training on the image is estimated to have lowered the loss of the "
                "query image (proponent); score < 0: to have raised it (opponent)."
            )
        return (
            "higher score: the two images are more similar; it does not say what the model "
            "learned from the training image."
        )
