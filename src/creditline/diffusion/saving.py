"""Writing models as diffusers pipelines, which `load_model` and diffusers read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from creditline import json_schema
from creditline.checksum import FileRecord, records_from_json, records_to_json
from creditline.diffusion.denoiser import Denoiser
from creditline.files import flush, flush_tree, make_folder, use_default_mode
from creditline.json_schema import JsonSchema, obj, or_null
from creditline.owner import aside_prefix
from creditline.stored_json import read_json, write_json

RECORD = "creditline.json"
FILES = "files"
RATE = {"type": "number", "minimum": 0, "maximum": 1e300}
RECORD_SCHEMA = JsonSchema(obj({}, files=json_schema.FILES, learning_rate=or_null(RATE)))
ADVICE = f"Restore the model from a backup or train it again. If you changed it, delete {RECORD}."


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
        record: facts about the model, written to `creditline.json` in it with the checksums of
            all files.
        aside: an existing folder on the same disk, for the draft.
    """
    make_folder(folder.parent)
    with tempfile.TemporaryDirectory(prefix=aside_prefix(), dir=aside) as temporary:
        draft = Path(temporary) / folder.name
        yield draft
        files = {p.relative_to(draft).as_posix(): p for p in draft.rglob("*") if p.is_file()}
        use_default_mode(*files.values())
        records = {name: FileRecord.of(path) for name, path in files.items()}
        write_json(draft / RECORD, {**record, FILES: records_to_json(records)})
        flush_tree(draft)
        os.replace(draft, folder)
    flush(folder.parent)


def has_record(folder: Path) -> bool:
    """Whether `creditline train` wrote a model folder."""
    return (folder / RECORD).is_file()


def read_record(folder: Path) -> dict[str, Any]:
    """Return facts about a model; empty for models from elsewhere.

    Raises:
        DamageError: if the record is damaged.
    """
    return read_json(folder / RECORD, ADVICE, RECORD_SCHEMA) if has_record(folder) else {}


def check_files(folder: Path) -> None:
    """Check the files of a model that `creditline train` wrote, once in a process.

    Raises:
        DamageError: naming the file that is damaged.
    """
    for name, record in records_from_json(read_record(folder).get(FILES, {})).items():
        record.check(folder / name, ADVICE)
