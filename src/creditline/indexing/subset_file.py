"""Losses of retrained models, kept in the index of a subset method."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.numpy import load_file, save_file

from creditline.errors import IndexMismatchError
from creditline.methods.subset_losses import SubsetLosses
from creditline.stored_arrays import check_tensors, read_tensors, write_tensors

NAME = "subset_losses.safetensors"
ADVICE = "Restore it, or build the index again with --overwrite."


def write_subsets(folder: Path, subsets: SubsetLosses) -> None:
    """Write masks, losses and query ids into an index folder."""
    tensors = {"masks": subsets.masks, "losses": subsets.losses}
    ids = json.dumps(list(subsets.query_ids))
    write_tensors(folder / NAME, tensors, save_file, {"query_ids": ids})


def read_subsets(folder: Path, expected: str | None) -> SubsetLosses:
    """What `write_subsets` wrote.

    Args:
        folder: the index.
        expected: fingerprint of the subsets, as the index's request names it.

    Raises:
        DamageError: if the file is missing or damaged.
        IndexMismatchError: if it is of another index.
    """
    path = folder / NAME
    ids = tuple(json.loads(check_tensors(path, ADVICE)["query_ids"]))
    arrays = read_tensors(path, load_file, ADVICE)
    subsets = SubsetLosses(arrays["masks"], arrays["losses"], ids)
    if expected is not None and subsets.fingerprint() != expected:
        raise IndexMismatchError(
            f"{path} has the fingerprint {subsets.fingerprint()}, and the index was built with "
            f"{expected}. {ADVICE}"
        )
    return subsets
