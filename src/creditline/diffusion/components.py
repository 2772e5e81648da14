"""Parts of diffusers pipelines, loaded strictly: no weights made up, no code run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from creditline.errors import ModelError

UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of a pipeline that have nothing to do with its loss."""

FAILURES = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError, ImportError)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ModelError: if it cannot be read or is none.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} should hold a JSON object and holds a {type(values).__name__}.")
    return values


def load_network(
    folder: Path, kind: Any, allow_pickle: bool = False, dtype: torch.dtype = torch.float32
) -> Any:
    """A network of diffusers or transformers with exactly the weights in its folder.

    Args:
        folder: holds `config.json` and weights.
        kind: its class.
        allow_pickle: accept weights that are not safetensors.
        dtype: type of the weights.

    Raises:
        ModelError: if weights are missing, left over, of other shapes or pickled.
    """
    files = [path.name for path in folder.glob("*.safetensors")]
    if not files and not allow_pickle:
        raise ModelError(
            f"{folder} has no safetensors weights. Convert them, or pass allow_pickle=True "
            "(--allow-pickle) if you trust where they came from: loading pickles can run code."
        )
    half = bool(files) and all(".fp16." in name for name in files)
    try:
        with quiet():
            network, found = kind.from_pretrained(
                folder,
                use_safetensors=None if allow_pickle else True,
                variant="fp16" if half else None,
                torch_dtype=dtype,
                output_loading_info=True,
            )
    except FAILURES as error:
        raise ModelError(f"The network in {folder} cannot be loaded: {error}") from error
    # Transformers leaves out old buffers by itself; only what is missing would be made up.
    left_over = found["unexpected_keys"] if kind.__module__.startswith("diffusers") else ()
    missing = found["missing_keys"]
    if missing or left_over:
        # The libraries would fill what is missing with random weights and only warn.
        raise ModelError(
            f"The weights in {folder} are not those of its config.json: "
            f"{len(missing)} are missing and {len(left_over)} are "
            f"left over, such as {[*missing, *left_over][0]}."
        )
    return network


def listed_parts(folder: Path) -> dict[str, tuple[str | None, str | None]]:
    """Library and class of each part of a pipeline, which all have their folders.

    Args:
        folder: holds `model_index.json`.

    Raises:
        ModelError: if the folder of a part is missing or empty, such as a tokenizer's.
    """
    index = read_json(folder / "model_index.json")
    listed = {
        part: (described[0], described[1])
        for part, described in index.items()
        if not part.startswith("_") and isinstance(described, list)
    }
    for part, (library, cls) in listed.items():
        place = folder / part
        there = place.is_dir() and any(place.iterdir())
        if library is not None and part not in UNUSED and not there:
            raise ModelError(
                f"{folder} lists {part} ({cls}) in model_index.json and has no folder of that "
                f"name, or an empty one. Save the whole pipeline, with its {part}."
            )
    return listed


def load_pipeline(
    folder: Path,
    given: dict[str, Any],
    allow_pickle: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Any:
    """A diffusers pipeline; what has no part in the loss is left out.

    Args:
        folder: holds `model_index.json`.
        given: parts that need not be loaded, by name.
        allow_pickle: accept weights that are not safetensors.
        dtype: type of the text encoders' weights; an autoencoder stays in float32.

    Raises:
        ModelError: if a part is missing or cannot be loaded, such as a tokenizer.
    """
    import diffusers

    kind = getattr(diffusers, str(read_json(folder / "model_index.json")["_class_name"]))
    parts: dict[str, Any] = dict(given)
    for part, (library, cls) in listed_parts(folder).items():
        if part in parts:
            continue
        if part in UNUSED or library is None or cls is None:
            parts[part] = None
        elif (loadable := _network_class(library, cls)) is not None:
            # The autoencoder in full precision: half of it overflows in several families.
            own = torch.float32 if library == "diffusers" else dtype
            parts[part] = load_network(folder / part, loadable, allow_pickle, own)
    try:
        with quiet():
            return kind.from_pretrained(folder, **parts)
    except FAILURES as error:
        raise ModelError(f"The pipeline in {folder} cannot be loaded: {error}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' own progress bars, which are afterwards as before."""
    loggers = [import_module("diffusers.utils.logging")]
    if "transformers" in sys.modules:
        loggers.append(import_module("transformers.utils.logging"))
    shown = [logger for logger in loggers if logger.is_progress_bar_enabled()]
    try:
        for logger in shown:
            logger.disable_progress_bar()
        yield
    finally:
        for logger in shown:
            logger.enable_progress_bar()


def _network_class(library: str, name: str) -> Any:
    """The class of a part that has weights; None for tokenizers and schedulers."""
    import diffusers

    if library == "diffusers":
        kind = getattr(diffusers, name, None)
        return kind if hasattr(kind, "load_config") and hasattr(kind, "parameters") else None
    if library != "transformers":
        return None
    try:
        import transformers
    except ImportError as error:
        raise ModelError(
            "Models that read text need the library transformers: pip install 'creditline[text]'."
        ) from error
    kind = getattr(transformers, name, None)
    return kind if hasattr(kind, "parameters") else None
