"""Checks of the images: size, duplicates, contributors and skipped files."""

from __future__ import annotations

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.doctor.findings import Finding, some
from creditline.errors import DataError, ModelError


def check_images(denoiser: Denoiser, images: ImageSet) -> list[Finding]:
    """Check images for all problems that an index would inherit."""
    return [_fit(denoiser, images), _duplicates(images), _contributors(images), *_skipped(images)]


def _fit(denoiser: Denoiser, images: ImageSet) -> Finding:
    try:
        denoiser.check(images)
    except (ModelError, DataError) as error:
        return Finding("images fit", "fail", str(error), "The other checks used random images.")
    _, height, width = images.shape
    return Finding("images fit", "ok", f"{len(images):,} images of {width}x{height}")


def _duplicates(images: ImageSet) -> Finding:
    groups = images.duplicates()
    if not groups:
        return Finding("duplicates", "ok", "no two images are equal")
    count = sum(len(group) for group in groups)
    groups_text = f"{len(groups):,} group{'s' * (len(groups) > 1)}"
    names = some([images.names[i] for i in groups[0]], 3)
    return Finding(
        "duplicates",
        "warn",
        f"{count:,} images in {groups_text} are equal, such as {names}",
        "Equal images get equal scores and share the credit; keep one of each if they are "
        "not meant to count several times.",
    )


def _contributors(images: ImageSet) -> Finding:
    known = set(images.contributors) - {None}
    missing = sum(contributor is None for contributor in images.contributors)
    if not missing:
        return Finding("contributors", "ok", f"{len(known):,}, every image has one")
    return Finding(
        "contributors",
        "warn",
        f"{missing:,} of {len(images):,} images have no contributor",
        "Credit is then given to images only. Add a column 'contributor' to metadata.csv, or "
        "load with contributors='folder'.",
    )


def _skipped(images: ImageSet) -> list[Finding]:
    if not images.skipped:
        return []
    names = [f"{name} ({reason})" for name, reason in images.skipped]
    count = "1 image was" if len(names) == 1 else f"{len(names):,} images were"
    return [
        Finding(
            "skipped",
            "warn",
            f"{count} left out: {some(names, 3)}",
            "Training images that are left out here cannot receive credit.",
        )
    ]
