"""Results that the D-TRAK paper's authors measured, for comparison with one's own.

LDS in percent, mean and standard deviation over 64 bootstrap resamples of the subsets, as stored in
the notebooks of their repository. A mean over resamples lies up to half a point below the plain
LDS. The damping of each row was selected for the best LDS on the queries that it is reported for.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from creditline.errors import unknown

NOTES = {
    ("celeba", "pixel-dot"): "generated queries cut out twice",
    ("celeba", "pixel-cosine"): "generated queries cut out twice",
    ("celeba", "encoder-dot"): "generated queries cut out twice",
    ("celeba", "encoder-cosine"): "generated queries cut out twice",
    ("artbench5", "tracin"): "3 checkpoints, not 4",
    ("artbench5", "gas"): "3 checkpoints, not 4",
}
"""Results whose own code shows a difference to their description."""


@dataclass(frozen=True)
class PublishedResult:
    """LDS of one method in one experiment, in percent.

    Attributes:
        recipe: experiment.
        method: name as in `creditline methods`.
        timesteps: timesteps of its features; None for methods without features.
        ensemble: models trained on halves, or None for the one model trained on all images.
        retrained: number of retrained models, for methods that learn from them.
        validation, generated: `(mean, standard deviation)`, or None where it was not measured.
        note: a reason to doubt the number, or empty.
    """

    recipe: str
    method: str
    timesteps: int | None
    ensemble: int | None
    retrained: int | None
    validation: tuple[float, float] | None
    generated: tuple[float, float] | None
    note: str = ""


@dataclass(frozen=True)
class PublishedRemoval:
    """Median (and mean) over 60 generated queries after the top 1,000 images were removed.

    Attributes:
        l2: norm of the change of pixels in [-1, 1] or, where `latent`, of the VAE's latents.
        cosine: cosine of CLIP ViT-B/32 embeddings before and after.
    """

    method: str
    l2: tuple[float, float]
    cosine: tuple[float, float]
    latent: bool = False


REMOVALS: dict[str, tuple[PublishedRemoval, ...]] = {
    "cifar2": (
        PublishedRemoval("random", (4.71, 5.51), (0.968, 0.953)),
        PublishedRemoval("trak", (5.90, 6.44), (0.943, 0.933)),
        PublishedRemoval("d-trak", (8.97, 9.46), (0.881, 0.875)),
    ),
    "celeba": (
        PublishedRemoval("random", (9.06, 9.83), (0.966, 0.954)),
        PublishedRemoval("trak", (11.02, 11.61), (0.942, 0.926)),
        PublishedRemoval("d-trak", (15.07, 15.46), (0.896, 0.891)),
    ),
    "artbench2": (
        PublishedRemoval("random", (158.83, 164.41), (0.845, 0.832), latent=True),
        PublishedRemoval("trak", (168.37, 174.01), (0.840, 0.824), latent=True),
        PublishedRemoval("d-trak", (187.61, 194.35), (0.769, 0.765), latent=True),
    ),
}
"""Both baseline methods used 100 timesteps."""


@cache
def published_results(recipe: str | None = None) -> tuple[PublishedResult, ...]:
    """Read the authors' LDS of one experiment or of all, in their order.

    Raises:
        SettingsError: if there is no such experiment.
    """
    text = files("creditline_research.paper").joinpath("d_trak_results.csv").read_text("utf-8")
    rows = tuple(_row(values) for values in csv.DictReader(text.splitlines()))
    known = {row.recipe for row in rows}
    if recipe is not None and recipe not in known:
        raise unknown("recipe", recipe, known)
    return tuple(row for row in rows if recipe in (None, row.recipe))


def _row(values: dict[str, str]) -> PublishedResult:
    def number(name: str) -> int | None:
        return int(values[name]) if values[name] else None

    def measured(name: str) -> tuple[float, float] | None:
        return (float(values[name]), float(values[f"{name}_std"])) if values[name] else None

    return PublishedResult(
        values["recipe"],
        values["method"],
        number("timesteps"),
        number("ensemble"),
        number("retrained"),
        measured("validation"),
        measured("generated"),
        NOTES.get((values["recipe"], values["method"]), ""),
    )
