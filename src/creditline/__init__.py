"""Creditline: training-data attribution for diffusion models.

```python
import creditline as cl

index = cl.index("runs/icons/model", "data/icons", out="runs/icons/index")
trace = index.trace("generated.png", top=20)
trace.by("contributor")
trace.to_html("report.html")
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from creditline.version import __version__

if TYPE_CHECKING:
    from creditline import credit, data, evaluation, methods, runtime
    from creditline.api import index, open_index
    from creditline.data.image_set import ImageSet
    from creditline.data.image_source import ImageSource
    from creditline.data.image_spec import ImageSpec
    from creditline.data.load import load_images
    from creditline.data.metadata_spec import MetadataSpec
    from creditline.data.selection import SelectionSpec
    from creditline.diffusion.config import GenerateConfig, TrainConfig
    from creditline.diffusion.generation import generate
    from creditline.diffusion.load import load_model
    from creditline.diffusion.model_source import ModelSource
    from creditline.diffusion.train import train
    from creditline.diffusion.tuning.config import TuneConfig
    from creditline.errors import CreditlineError
    from creditline.indexing.index import Index
    from creditline.runtime import Runtime
    from creditline.trace import Trace
    from creditline.verification import verify

# Imported on first use, so that `import creditline` and the command line start at once.
_EXPORTS = {
    "CreditlineError": "creditline.errors",
    "GenerateConfig": "creditline.diffusion.config",
    "ImageSet": "creditline.data.image_set",
    "ImageSource": "creditline.data.image_source",
    "ImageSpec": "creditline.data.image_spec",
    "Index": "creditline.indexing.index",
    "MetadataSpec": "creditline.data.metadata_spec",
    "ModelSource": "creditline.diffusion.model_source",
    "Runtime": "creditline.runtime",
    "SelectionSpec": "creditline.data.selection",
    "Trace": "creditline.trace",
    "TrainConfig": "creditline.diffusion.config",
    "TuneConfig": "creditline.diffusion.tuning.config",
    "generate": "creditline.diffusion.generation",
    "index": "creditline.api",
    "load_images": "creditline.data.load",
    "load_model": "creditline.diffusion.load",
    "open_index": "creditline.api",
    "train": "creditline.diffusion.train",
    "verify": "creditline.verification",
}
_MODULES = ("credit", "data", "evaluation", "methods", "runtime")

__all__ = [
    "CreditlineError",
    "GenerateConfig",
    "ImageSet",
    "ImageSource",
    "ImageSpec",
    "Index",
    "MetadataSpec",
    "ModelSource",
    "Runtime",
    "SelectionSpec",
    "Trace",
    "TrainConfig",
    "TuneConfig",
    "__version__",
    "credit",
    "data",
    "evaluation",
    "generate",
    "index",
    "load_images",
    "load_model",
    "methods",
    "open_index",
    "runtime",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"creditline.{name}")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'creditline' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
