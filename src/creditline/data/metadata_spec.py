"""Settings that say where contributors, captions and classes of images come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from creditline.data.plain_values import CaptionChoice
from creditline.settings import setting, validate_settings

MetadataOrigin = Literal["auto", "column", "folder", "none"]


@dataclass(frozen=True)
class MetadataSpec:
    """Origin of contributors, captions and classes of images.

    An origin is `"column"` (a metadata column, which must exist), `"folder"`, `"none"`, or
    `"auto"` for the column if there is one. The folder of a class is the one an image lies in. The
    folder of a contributor is the *first* below the source, so that `artist/series/1.png` is by
    `artist`.
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
        "one", "of an image with several: one: refuse it; first; random: drawn by the image's name"
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
            SettingsError: on an unknown origin.
        """
        validate_settings(self)
