"""The recipe of a ground truth: everything that determines its numbers, for the manifest."""

from __future__ import annotations

import inspect
import json
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from creditline import fingerprint
from creditline.data.image_set import ImageSet
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.query_sets import QuerySets
from creditline.evaluation.truth.subset_trainer import SubsetTrainer
from creditline.evaluation.truth.subsets import SubsetSpec, group_values
from creditline.evaluation.truth.task import Trainer
from creditline.settings import to_dict


def make_recipe(
    images: ImageSet,
    queries: QuerySets,
    trainer: Trainer,
    subsets: SubsetSpec | None,
    masks: np.ndarray,
    losses: LossPlan,
) -> dict[str, Any]:
    """Return the recipe as a JSON-ready dictionary.

    The numbers of random subsets and of seeds are left out: both can grow without a change of the
    existing numbers.

    Args:
        images: training images.
        queries: query images by name.
        trainer: function that trains the models.
        subsets: settings of the subsets; None if the user gave the masks.
        masks: bool of shape `(M, n)`.
        losses: settings of the losses.
    """
    return {
        "images": {"fingerprint": images.fingerprint, "n": len(images)},
        "queries": {
            name: {"fingerprint": group.fingerprint, "n": len(group)} for name, group in queries
        },
        "subsets": _subsets(subsets, masks, images),
        "training": _training(trainer),
        "losses": to_dict(losses),
    }


def _subsets(spec: SubsetSpec | None, masks: np.ndarray, images: ImageSet) -> dict[str, Any]:
    if spec is None:
        return {"scheme": "given", "masks": fingerprint.of_arrays([("masks", masks)])}
    if not spec.grows:
        return {"scheme": spec.scheme, "masks": fingerprint.of_arrays([("masks", masks)])}
    fixed = {key: value for key, value in to_dict(spec).items() if key != "subsets"}
    # The fingerprint of the images does not depend on their contributors.
    return {**fixed, "strata": fingerprint.of_json(list(group_values(spec, images)))}


def _training(trainer: Trainer) -> dict[str, Any]:
    if isinstance(trainer, SubsetTrainer):
        training: dict[str, Any] = {"config": to_dict(trainer.config)}
        if trainer.base is not None:
            training["base"] = {"fingerprint": trainer.base.fingerprint}
        return training
    # An instance is identified by its class, and by its settings if it is a dataclass.
    code = trainer if inspect.isroutine(trainer) else type(trainer)
    training = {"trainer": f"{code.__module__}.{code.__qualname__}", "source": _source(code)}
    if is_dataclass(trainer):
        training["settings"] = json.loads(json.dumps(to_dict(trainer), default=_identify))
    return training


def _identify(value: Any) -> str:
    """Return the fingerprint or class of a setting that JSON cannot represent."""
    fingerprint = getattr(value, "fingerprint", None)
    return fingerprint if isinstance(fingerprint, str) else type(value).__qualname__


def _source(code: Any) -> str | None:
    """Return a hash of the source code; None if there is none, as in an interactive session."""
    try:
        return fingerprint.of_bytes(inspect.getsource(code).encode())
    except (OSError, TypeError):
        return None
