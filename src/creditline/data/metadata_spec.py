"""Settings that say where contributors, captions and classes of images come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from creditline.data.plain_values import CaptionChoice
from creditline.settings import require, setting, validate_settings

MetadataOrigin = Literal["auto", "column", "folder", "none"]


@dataclass(frozen=True)
class MetadataSpec:
    """Origin of contributors, captions and classes of images.

    An origin is `"column"` (a metadata column, which must exist), `"folder"`, `"none"`, or
    `"auto"` for the column if there is one. The folder of a class is the one an image lies in. The
    folder of a contributor is the *first* below the source, so that `artist/series/1.png` is by
    `artist`.

    With `captions="all"` the objective of an image is its mean over all captions of the image:
    its evaluations take the captions in turn, with the same timesteps and noise as otherwise. Each
    step of a training draws one of them.
    """

    labels: MetadataOrigin = setting(
        "auto", "origin of classes: column, folder, none, or auto: the column if there is one"
    )
    contributors: MetadataOrigin = setting(
        "auto", "origin of contributors, likewise; folder: the first folder below the source"
    )
    image_column: str | None = setting(
        None, "image column of a Hugging Face dataset, needed if it has several"
    )
    contributor_column: str = setting("contributor", "name of the column of contributors")
    text_column: str = setting("text", "name of the column of captions")
    captions: CaptionChoice = setting(
        "one",
        "of an image with several: one: refuse it; first; random: drawn by the image's name; all: "
        "attribution averages over them, training draws one at each step",
    )
    label_column: str = setting("label", "name of the column of classes")
    prompt_template: str | None = setting(
        None,
        "caption made of other columns: 'an icon of {label} by {contributor}'; query images that "
        "have these columns get theirs likewise",
    )

    def __post_init__(self) -> None:
        """Check the origins.

        Raises:
            SettingsError: on an unknown origin, or for all captions beside a template.
        """
        validate_settings(self)
        require(
            self.prompt_template is None or self.captions != "all",
            "A prompt template makes one caption of an image, and captions='all' keeps several",
            self.prompt_template,
            "Leave one of them out (prompt_template, --prompt-template; captions, --captions).",
        )
