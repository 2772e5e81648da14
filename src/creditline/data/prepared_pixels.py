"""The one pass over images at load: decode, prepare, hash, and keep what memory allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from creditline.data.image_spec import ImageSpec
from creditline.data.pixel_array import MEMORY_LIMIT, PixelArray, PixelReader, content_hash
from creditline.data.preparation import prepare
from creditline.errors import DataError
from creditline.runtime import Runtime, SilentSink

QUIET = 2000
"""Up to this many images load without a progress bar."""

SURVEYED = 1000
"""How many more images are opened to describe a mixture of sizes."""


@dataclass(frozen=True)
class PreparedPixels:
    """The images of one pass: pixels, positions, and (name, reason) of those left out."""

    pixels: PixelArray
    rows: tuple[int, ...]
    skipped: tuple[tuple[str, str], ...]


def prepare_images(
    names: Sequence[str],
    open_image: Callable[[int], Image.Image],
    spec: ImageSpec,
    *,
    keys: Sequence[str] = (),
    source: PixelReader | None = None,
    skip_bad: bool = False,
    limit: int | None = None,
    memory: int = MEMORY_LIMIT,
    runtime: Runtime | None = None,
) -> PreparedPixels:
    """Open every image once, in order.

    Args:
        names: what to call the images.
        open_image: gives image i, loaded; raises DataError, naming it, if it is bad.
        spec: how to prepare them.
        keys, source: where to read images again that exceed `memory`. Without a source all
            images are held.
        skip_bad: list bad images instead of stopping at the first.
        limit: stop after this number of good images.
        memory: bytes of prepared pixels to hold.
        runtime: shows progress.

    Raises:
        DataError: for a bad image, for images of different sizes when `spec` does not bring
            them to one, and if no image is left.
    """
    total = len(names) if limit is None else min(limit, len(names))
    if total == 0:
        raise DataError("There are no images to load. Give at least one.")
    held = np.empty((0, 0, 0, 3), np.uint8)
    ids: list[str] = []
    rows: list[int] = []
    skipped: list[tuple[str, str]] = []
    runtime = (runtime or Runtime()) if total > QUIET else Runtime(sink=SilentSink())
    with runtime.progress("load images", total, "image") as bar:
        for i, name in enumerate(names):
            if len(rows) == total:
                break
            try:
                image = prepare(open_image(i), spec, name)
            except DataError as error:
                if not skip_bad:
                    raise DataError(
                        f"{error} Mend or remove it; a training image can be left out with "
                        "skip_bad=True (--skip-bad)."
                    ) from error
                skipped.append((name, str(error).removeprefix(f"{name}: ").removesuffix(".")))
                continue
            if not rows:
                room = total if source is None else min(total, memory // image.nbytes)
                held = np.empty((room, *image.shape), np.uint8)
            elif image.shape != held.shape[1:]:
                raise _mixed(names, open_image, spec, held.shape[2:0:-1], rows, i)
            if len(rows) < len(held):
                held[len(rows)] = image
            ids.append(content_hash(image))
            rows.append(i)
            bar.advance()
    if not rows:
        name, reason = skipped[0]
        raise DataError(f"None of {len(names)} images could be used. The first, {name}: {reason}.")
    used = tuple(keys[i] for i in rows) if source is not None else ()
    pixels = PixelArray(held[: len(rows)], tuple(ids), used, source, spec)
    return PreparedPixels(pixels, tuple(rows), tuple(skipped))


def _mixed(
    names: Sequence[str],
    open_image: Callable[[int], Image.Image],
    spec: ImageSpec,
    size: tuple[int, ...],
    rows: Sequence[int],
    start: int,
) -> DataError:
    """The error for images of different sizes: which sizes, how many of each, and examples."""
    counts: Counter[tuple[int, ...]] = Counter({size: len(rows)})
    examples = {size: names[rows[0]]}
    stop = min(len(names), start + SURVEYED)
    for i in range(start, stop):
        try:
            shape = prepare(open_image(i), spec, names[i]).shape[1::-1]
        except DataError:
            continue  # a bad image has its own error once the sizes are settled
        counts[shape] += 1
        examples.setdefault(shape, names[i])
    lines = [
        f"  {w}x{h}: {count} (such as {examples[w, h]})" for (w, h), count in counts.most_common(5)
    ]
    more = f"\n  and {len(counts) - 5} further sizes" if len(counts) > 5 else ""
    side = min(counts.most_common(1)[0][0])
    return DataError(
        f"The images have different sizes; among the first {stop}:\n"
        + "\n".join(lines)
        + more
        + f"\nGive one side for all, such as size={side} (crop='center' cuts the middle square, "
        "crop='stretch' ignores the aspect), or remove those that do not belong."
    )
