"""Losses of retrained models, kept in the index of a subset method."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.numpy import load_file, save_file

from creditline.methods.subset_losses import SubsetLosses
from creditline.stored_arrays import check_tensors, read_tensors, write_tensors

NAME = "subset_losses.safetensors"
ADVICE = "Restore it, or build the index again with --overwrite."


def write_subsets(folder: Path, subsets: SubsetLosses) -> None:
    """Write masks, losses and query ids into an index folder."""
    tensors = {"masks": subsets.masks, "losses": subsets.losses}
    ids = json.dumps(list(subsets.query_ids))
    write_tensors(folder / NAME, tensors, save_file, {"query_ids": ids})


def read_subsets(folder: Path) -> SubsetLosses:
    """What `write_subsets` wrote.

    Raises:
        DamageError: if the file is missing or damaged.
    """
    path = folder / NAME
    ids = tuple(json.loads(check_tensors(path, ADVICE)["query_ids"]))
    arrays = read_tensors(path, load_file, ADVICE)
    return SubsetLosses(arrays["masks"], arrays["losses"], ids)
