"""metadata.csv, .jsonl and .parquet as Hugging Face's imagefolder has them, matched to files.

A metadata file describes images in its own folder and below: column `file_name` is a path
relative to it. Once there is metadata, every image needs exactly one row and every row a file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import PurePosixPath

from creditline.data.archive_files import ArchiveFiles
from creditline.data.files import FolderFiles
from creditline.data.formats import is_image_file
from creditline.data.image_listing import ImageListing, abbreviate
from creditline.data.left_out import describe_left_out
from creditline.data.metadata_rows import FILE, MetadataRow, read_rows
from creditline.data.names import by_composed_name, candidate_paths
from creditline.errors import DataError

KINDS = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def list_files(
    source: FolderFiles | ArchiveFiles, skip_bad: bool = False, aside: str | None = None
) -> ImageListing:
    """List the images of a folder or zip file together with their metadata.

    Args:
        source: where to look.
        skip_bad: leave out rows without a file and files without a row, and list them.
        aside: a column that names further files, which are no images of the set.

    Raises:
        DataError: if there is no image, metadata cannot be parsed, or rows and files do not
            match one to one.
    """
    files = by_composed_name(source.files(), source.label)
    tables = [file for file in files if PurePosixPath(file).name in KINDS]
    images = sorted(file for file in files if is_image_file(file))
    if not tables:
        return _without_metadata(source, files, images)
    _one_kind_per_folder(tables)

    rows: dict[str, MetadataRow] = {}
    without_file: list[str] = []
    origin: dict[str, str] = {}
    names: dict[str, None] = {}  # an ordered set of column names
    for table in tables:
        folder = posixpath.dirname(table)
        for where, row in read_rows(source, files[table]):
            file_name = row.pop(FILE, None)
            if not file_name:
                raise DataError(f"{where}: {FILE} is empty. Name the image or remove the row.")
            file = next((x for x in candidate_paths(folder, file_name) if x in files), None)
            if file is None:
                without_file.append(f"{file_name} ({where})")
                continue
            if file in rows:
                raise DataError(
                    f"{file} is described twice: {origin[file]} and {where}. Keep one row."
                )
            rows[file], origin[file] = row, where
            names |= dict.fromkeys(row)

    named = _named_aside(rows, aside)
    without_row = [file for file in images if file not in rows and file not in named]
    if without_file and not skip_bad:
        raise DataError(
            f"{len(without_file)} metadata rows name files that are not there: "
            f"{abbreviate(without_file)}. {FILE} is relative to the metadata file. Correct or "
            "remove the rows, or skip them with skip_bad (--skip-bad)."
        )
    if without_row and not skip_bad:
        raise DataError(
            f"{len(without_row)} images have no row in {abbreviate(tables)}: "
            f"{abbreviate(without_row)}. Add rows, move the images elsewhere, or skip them with "
            "skip_bad (--skip-bad)."
        )
    skipped = [(item, "a metadata row without a file") for item in without_file]
    skipped += [(item, "an image without a metadata row") for item in without_row]
    matched = sorted(rows)
    if not matched:
        raise DataError(f"{source.label} holds no image that its metadata describes.")
    used = {*matched, *images, *tables, *named}
    skipped += describe_left_out([file for file in files if file not in used])
    columns = {name: tuple(rows[file].get(name) for file in matched) for name in names}
    keys = [files[file] for file in matched]
    return ImageListing.of(source, matched, keys, columns, skipped=tuple(skipped))


def _without_metadata(
    source: FolderFiles | ArchiveFiles, files: dict[str, str], images: Sequence[str]
) -> ImageListing:
    left_out = describe_left_out([file for file in files if not is_image_file(file)])
    if not images:
        among = f" among its {len(files)} files" if files else ""
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out[:5])
        raise DataError(
            f"{source.label} holds no image{among}. Give a folder or zip file with .png, .jpg, "
            f".webp or other images in it or below it.{f' Left out: {reasons}.' if reasons else ''}"
        )
    keys = [files[image] for image in images]
    return ImageListing.of(source, images, keys, skipped=left_out)


def _named_aside(rows: dict[str, MetadataRow], column: str | None) -> set[str]:
    """Return the files that a column names, in every form that they may have."""
    values = [row.get(column) for row in rows.values()] if column is not None else []
    return {path for value in values if value for path in candidate_paths("", value)}


def _one_kind_per_folder(tables: Sequence[str]) -> None:
    folders: dict[str, str] = {}
    for table in tables:
        other = folders.setdefault(posixpath.dirname(table), table)
        if other != table:
            raise DataError(f"{other} and {table} lie in one folder. Keep one of them.")
