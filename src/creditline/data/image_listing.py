"""A listing: which images a source holds and what is written about them, before any is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from creditline.data.decode import decode
from creditline.data.pixel_array import PixelReader

Value = str | None


@dataclass(frozen=True)
class ImageListing:
    """The images of a source, in order.

    Attributes:
        label: description of the source.
        names: what the images are called, n of them.
        open_image: gives image i, loaded; raises DataError if it is bad.
        columns: metadata by column, n values each.
        classes: the class names in the order of their indices, where the source defines one.
        skipped: (name, reason) of what the metadata and the files disagree about.
        keys, source: where to read images again; no source for images held in memory.
    """

    label: str
    names: Sequence[str]
    open_image: Callable[[int], Image.Image]
    columns: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    keys: Sequence[str] = ()
    source: PixelReader | None = None

    @classmethod
    def of(
        cls,
        source: PixelReader,
        names: Sequence[str],
        keys: Sequence[str],
        columns: Mapping[str, Sequence[Value]] | None = None,
        classes: tuple[str, ...] | None = None,
        skipped: tuple[tuple[str, str], ...] = (),
    ) -> ImageListing:
        """A listing whose images are decoded from the bytes of a source."""

        def open_image(i: int) -> Image.Image:
            return decode(source.read(keys[i]), names[i])

        return cls(source.label, names, open_image, columns or {}, classes, skipped, keys, source)


def abbreviate(items: Sequence[str], at_most: int = 5) -> str:
    """The first few items, and how many more there are, for an error."""
    more = f" and {len(items) - at_most} more" if len(items) > at_most else ""
    return ", ".join(items[:at_most]) + more
