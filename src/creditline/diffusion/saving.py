"""Writing models as diffusers pipelines, which `load_model` and diffusers read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from creditline.diffusion.denoiser import UNetDenoiser
from creditline.files import ASIDE

RECORD = "creditline.json"


def save_pipeline(
    denoiser: UNetDenoiser, folder: Path, record: Mapping[str, Any], aside: Path
) -> None:
    """Write a DDPM pipeline with safetensors weights, whole or not at all.

    Args:
        denoiser: what to write.
        folder, record, aside: as of `recorded`.
    """
    from diffusers import DDPMPipeline, DDPMScheduler

    scheduler = DDPMScheduler.from_config(denoiser.process.config)
    with recorded(folder, record, aside) as draft:
        DDPMPipeline(unet=denoiser.module, scheduler=scheduler).save_pretrained(draft)


@contextmanager
def recorded(folder: Path, record: Mapping[str, Any], aside: Path) -> Iterator[Path]:
    """A place to write a model to, which becomes `folder` once it is whole.

    Args:
        folder: where; must not exist.
        record: what `creditline.json` in it says of the model.
        aside: an existing folder on the same disk, for the draft.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=ASIDE, dir=aside) as temporary:
        draft = Path(temporary) / folder.name
        yield draft
        (draft / RECORD).write_text(json.dumps(dict(record)) + "\n", "utf-8")
        os.replace(draft, folder)
