"""Losses of retrained models, kept in the index of a subset method."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from creditline.errors import CreditlineError
from creditline.files import write_file
from creditline.methods.subset_losses import SubsetLosses

NAME = "subset_losses.npz"


def write_subsets(folder: Path, subsets: SubsetLosses) -> None:
    """Write masks, losses and query ids into an index folder."""
    ids = json.dumps(list(subsets.query_ids))

    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, masks=subsets.masks, losses=subsets.losses, query_ids=np.array(ids))

    write_file(folder / NAME, save, overwrite=True)


def read_subsets(folder: Path) -> SubsetLosses:
    """What `write_subsets` wrote.

    Raises:
        CreditlineError: if the file is missing or damaged.
    """
    path = folder / NAME
    try:
        with np.load(path) as arrays:
            ids = tuple(json.loads(str(arrays["query_ids"])))
            return SubsetLosses(arrays["masks"], arrays["losses"], ids)
    except (OSError, ValueError, KeyError) as error:
        raise CreditlineError(
            f"{path} is missing or damaged ({error}). Build the index again with --overwrite."
        ) from error
