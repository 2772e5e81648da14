"""Writing models as diffusers pipelines, which `load_model` and diffusers read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from creditline.diffusion.denoiser import Denoiser
from creditline.owner import aside_prefix

RECORD = "creditline.json"


def save_pixel_pipeline(
    denoiser: Denoiser, folder: Path, record: Mapping[str, Any], aside: Path
) -> None:
    """Write a DDPM pipeline with safetensors weights, atomically.

    Args:
        denoiser: a denoiser on pixels.
        folder, record, aside: see `new_model_folder`.
    """
    from diffusers import DDPMPipeline, DDPMScheduler

    scheduler = DDPMScheduler.from_config(denoiser.process.config)
    with new_model_folder(folder, record, aside) as draft:
        DDPMPipeline(unet=denoiser.module, scheduler=scheduler).save_pretrained(draft)


@contextmanager
def new_model_folder(folder: Path, record: Mapping[str, Any], aside: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `folder` when it is complete.

    Args:
        folder: where to write; must not exist.
        record: facts about the model, written to `creditline.json` in it.
        aside: an existing folder on the same disk, for the draft.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=aside_prefix(), dir=aside) as temporary:
        draft = Path(temporary) / folder.name
        yield draft
        (draft / RECORD).write_text(json.dumps(dict(record)) + "\n", "utf-8")
        os.replace(draft, folder)
