"""Writing models as diffusers pipelines, which `load_model` and diffusers read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
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
        denoiser: what to write; moved to the CPU.
        folder: where; must not exist.
        record: what `creditline.json` in it says of the model.
        aside: an existing folder on the same disk, for the draft.
    """
    from diffusers import DDPMPipeline, DDPMScheduler

    scheduler = DDPMScheduler.from_config(denoiser.process.config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=ASIDE, dir=aside) as temporary:
        draft = Path(temporary) / folder.name
        DDPMPipeline(unet=denoiser.module.cpu(), scheduler=scheduler).save_pretrained(draft)
        (draft / RECORD).write_text(json.dumps(dict(record)) + "\n", "utf-8")
        os.replace(draft, folder)
