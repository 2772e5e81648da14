"""The recipe of a ground truth: everything that decides its numbers, for the manifest."""

from __future__ import annotations

import inspect
import json
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from creditline import fingerprint
from creditline.data.image_set import ImageSet
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.query_sets import Named
from creditline.evaluation.truth.subset_trainer import SubsetTrainer
from creditline.evaluation.truth.subsets import SubsetSpec, group_values
from creditline.evaluation.truth.task import Trainer
from creditline.settings import to_dict


def make_recipe(
    images: ImageSet,
    queries: Named,
    trainer: Trainer,
    subsets: SubsetSpec | None,
    masks: np.ndarray,
    losses: LossPlan,
) -> dict[str, Any]:
    """A JSON-ready dictionary.

    The numbers of random subsets and of seeds are not in it: both can grow without changing what
    is there.

    Args:
        images: training images.
        queries: by name.
        trainer: makes the models.
        subsets: how they were drawn; None if the masks were given.
        masks: bool of shape `(M, n)`.
        losses: how they are measured.
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
    growing = {key: value for key, value in to_dict(spec).items() if key != "subsets"}
    # The fingerprint of the images does not know their contributors.
    return {**growing, "strata": fingerprint.of_json(list(group_values(spec, images)))}


def _training(trainer: Trainer) -> dict[str, Any]:
    if isinstance(trainer, SubsetTrainer):
        about: dict[str, Any] = {"config": to_dict(trainer.config)}
        if trainer.base is not None:
            about["base"] = {"fingerprint": trainer.base.fingerprint}
        return about
    # An instance is known by its class, and by its settings where it is a dataclass.
    code = trainer if inspect.isroutine(trainer) else type(trainer)
    about = {"trainer": f"{code.__module__}.{code.__qualname__}", "source": _source(code)}
    if is_dataclass(trainer):
        about["settings"] = json.loads(json.dumps(to_dict(trainer), default=_known_by))
    return about


def _known_by(value: Any) -> str:
    """What stands for a setting that JSON cannot hold: its fingerprint, or its class."""
    mark = getattr(value, "fingerprint", None)
    return mark if isinstance(mark, str) else type(value).__qualname__


def _source(code: Any) -> str | None:
    """Hash of the source, or None where there is none to read, as in an interactive session."""
    try:
        return fingerprint.of_bytes(inspect.getsource(code).encode())
    except (OSError, TypeError):
        return None
