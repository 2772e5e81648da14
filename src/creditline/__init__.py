"""Creditline: which training images, and whose, does a generated picture owe most to?

import creditline as cl
index = cl.index(cl.load_model("runs/icons/model"), cl.load_images("data/icons"),
                 method="d-trak", out="runs/icons/index")
hits = index.trace("picture.png", top=20)
hits.by("contributor")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from creditline.version import __version__

if TYPE_CHECKING:
    from creditline.api import index, open_index
    from creditline.data.image_set import ImageSet
    from creditline.data.load import load_images
    from creditline.diffusion.config import TrainConfig
    from creditline.diffusion.generation import generate
    from creditline.diffusion.load import load_model
    from creditline.diffusion.train import train
    from creditline.errors import CreditlineError
    from creditline.indexing.index import Index
    from creditline.runtime import Runtime
    from creditline.trace import Trace

# Imported on first use, so that the command line answers at once.
_EXPORTS = {
    "CreditlineError": "creditline.errors",
    "ImageSet": "creditline.data.image_set",
    "Index": "creditline.indexing.index",
    "Runtime": "creditline.runtime",
    "Trace": "creditline.trace",
    "TrainConfig": "creditline.diffusion.config",
    "generate": "creditline.diffusion.generation",
    "index": "creditline.api",
    "load_images": "creditline.data.load",
    "load_model": "creditline.diffusion.load",
    "open_index": "creditline.api",
    "train": "creditline.diffusion.train",
}

__all__ = [
    "CreditlineError",
    "ImageSet",
    "Index",
    "Runtime",
    "Trace",
    "TrainConfig",
    "__version__",
    "generate",
    "index",
    "load_images",
    "load_model",
    "open_index",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'creditline' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
