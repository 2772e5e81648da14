"""Weight files of a model's folder: which variant is loaded, and that shards stay inside it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from creditline.diffusion.json_file import read_json
from creditline.errors import ModelError

NAME = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)"
    r"(?:\.(?P<variant>\w+))?(?:-\d{5}-of-\d{5})?(?:\.(?P<legacy>\w+))?"
    r"\.(?P<kind>safetensors|bin)"
)
"""File names of diffusers and transformers: `model.fp16-00001-of-00002.safetensors`."""

SAFE = "safetensors"


@dataclass(frozen=True)
class WeightOptions:
    """How weights are loaded.

    Attributes:
        allow_pickle: accept weights that are not safetensors; loading them can run code.
        dtype: type of the weights.
        variant: variant of the weight files, such as `"fp16"`; None: the files without one, or
            the only variant there is.
    """

    allow_pickle: bool = False
    dtype: torch.dtype = torch.float32
    variant: str | None = None


def choose_variant(folder: Path, options: WeightOptions, required: bool = True) -> str | None:
    """Return the variant to load from a folder; None: files without one.

    Args:
        folder: holds the weight files.
        options: the requested variant, if any, and whether pickles are accepted.
        required: refuse a folder without the requested variant, instead of taking another.

    Raises:
        ModelError: if there are no weights that may be loaded, or the choice is not clear; if an
            index of shards names files that may not be loaded.
    """
    _check_shards(folder, options.allow_pickle)
    variants = _variants(folder, options.allow_pickle)
    if not variants:
        raise _no_weights(folder)
    variant = options.variant
    if variant in variants:
        return variant
    if variant is not None and required:
        raise ModelError(
            f"{folder} has no weights of the variant {variant!r}; it has {_list(variants)}. Choose "
            "one of them with variant= (--variant), or leave it out."
        )
    if None in variants:
        return None
    if len(variants) == 1:
        return next(iter(variants))
    raise ModelError(
        f"{folder} has weights of several variants, {_list(variants)}. Choose one with variant= "
        "(--variant)."
    )


def _variants(folder: Path, allow_pickle: bool) -> set[str | None]:
    """Return the variants of a folder's weights; None for files without one."""
    matches = (NAME.fullmatch(path.name) for path in folder.glob("*"))
    kinds = (SAFE, "bin") if allow_pickle else (SAFE,)
    return {m["variant"] or m["legacy"] for m in matches if m is not None and m["kind"] in kinds}


def _no_weights(folder: Path) -> ModelError:
    strays = sorted(path.name for path in folder.glob(f"*.{SAFE}"))
    if strays:
        return ModelError(
            f"{folder} holds {', '.join(strays[:3])}, and no file with a name that is read. Call "
            "the weights diffusion_pytorch_model.safetensors, or model.safetensors for a text "
            "encoder."
        )
    return ModelError(
        f"{folder} has no safetensors weights. Convert them, or pass allow_pickle=True "
        "(--allow-pickle) if you trust where they came from: loading pickles can run code."
    )


def _check_shards(folder: Path, allow_pickle: bool) -> None:
    """Refuse an index of shards that names pickles, or files outside its folder."""
    for index in sorted(folder.glob("*.index*.json")):
        if not allow_pickle and f".{SAFE}.index" not in index.name:
            continue  # of pickles, which are not loaded
        shards = read_json(index).get("weight_map")
        names = set(shards.values()) if isinstance(shards, dict) and _texts(shards) else None
        if names is None:
            raise ModelError(f"{index} has no weight_map from weights to files. Save it again.")
        for name in sorted(names):
            if not re.fullmatch(r"[\w.-]+", name) or name in (".", ".."):
                raise ModelError(
                    f"{index} names {name!r}, which is not a file in its folder. Get the model "
                    "from its source again."
                )
            if not name.endswith(f".{SAFE}") and not allow_pickle:
                raise ModelError(
                    f"{index} names {name!r}, which is not safetensors. Convert the weights, or "
                    "pass allow_pickle=True (--allow-pickle) if you trust where they came from: "
                    "loading pickles can run code."
                )


def _texts(values: dict) -> bool:
    return all(isinstance(value, str) for value in values.values())


def _list(variants: Iterable[str | None]) -> str:
    return ", ".join(sorted("files without a variant" if v is None else repr(v) for v in variants))
