"""Components of diffusers pipelines, loaded strictly: no random weights, no code from files."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from creditline.errors import ModelError

UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that do not affect a pipeline's loss."""

FAILURES = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError, ImportError)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        ModelError: if the file cannot be read or holds something else.
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
    """Load a network of diffusers or transformers with exactly the weights in its folder.

    Args:
        folder: holds `config.json` and weights.
        kind: its class.
        allow_pickle: accept weights that are not safetensors.
        dtype: type of the weights.

    Raises:
        ModelError: if weights are missing, unexpected, of other shapes or pickled.
    """
    files = [path.name for path in folder.glob("*.safetensors")]
    if not files and not allow_pickle:
        raise ModelError(
            f"{folder} has no safetensors weights. Convert them, or pass allow_pickle=True "
            "(--allow-pickle) if you trust where they came from: loading pickles can run code."
        )
    half = bool(files) and all(".fp16." in name for name in files)
    from_diffusers = kind.__module__.startswith("diffusers")
    # diffusers' default needs the library accelerate, and diffusers warns where it is missing.
    memory = {"low_cpu_mem_usage": False} if from_diffusers else {}
    try:
        with quiet():
            network, report = kind.from_pretrained(
                folder,
                use_safetensors=None if allow_pickle else True,
                variant="fp16" if half else None,
                torch_dtype=dtype,
                output_loading_info=True,
                **memory,
            )
    except FAILURES as error:
        raise ModelError(f"The network in {folder} cannot be loaded: {error}") from error
    # Transformers drops old buffers by design; only missing weights would be random.
    unexpected = report["unexpected_keys"] if from_diffusers else ()
    missing = report["missing_keys"]
    if missing or unexpected:
        # The libraries would initialize missing weights at random and only warn.
        raise ModelError(
            f"The weights in {folder} are not those of its config.json: "
            f"{len(missing)} are missing and {len(unexpected)} are "
            f"unexpected, such as {[*missing, *unexpected][0]}."
        )
    return network


def listed_components(folder: Path) -> dict[str, tuple[str | None, str | None]]:
    """Return library and class of each component of a pipeline.

    Args:
        folder: holds `model_index.json`.

    Raises:
        ModelError: if the folder of a component is missing or empty, such as a tokenizer's.
    """
    index = read_json(folder / "model_index.json")
    listed = {
        name: (entry[0], entry[1])
        for name, entry in index.items()
        if not name.startswith("_") and isinstance(entry, list)
    }
    for name, (library, kind) in listed.items():
        place = folder / name
        present = place.is_dir() and any(place.iterdir())
        if library is not None and name not in UNUSED and not present:
            raise ModelError(
                f"{folder} lists {name} ({kind}) in model_index.json and has no folder of that "
                f"name, or an empty one. Save the complete pipeline, with its {name}."
            )
    return listed


def load_pipeline(
    folder: Path,
    loaded: Mapping[str, Any],
    allow_pickle: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Any:
    """Load a diffusers pipeline without the components that do not affect its loss.

    Args:
        folder: holds `model_index.json`.
        loaded: components that are loaded already, by name.
        allow_pickle: accept weights that are not safetensors.
        dtype: type of the text encoders' weights; an autoencoder stays in float32.

    Raises:
        ModelError: if a component is missing or cannot be loaded, such as a tokenizer.
    """
    import diffusers

    kind = getattr(diffusers, str(read_json(folder / "model_index.json")["_class_name"]))
    components: dict[str, Any] = dict(loaded)
    for name, (library, cls) in listed_components(folder).items():
        if name in components:
            continue
        if name in UNUSED or library is None or cls is None:
            components[name] = None
        elif (network_class := _network_class(library, cls)) is not None:
            # The autoencoder in full precision: half precision overflows in several families.
            own = torch.float32 if library == "diffusers" else dtype
            components[name] = load_network(folder / name, network_class, allow_pickle, own)
    # Without it, a pipeline warns that its safety checker is missing.
    if "requires_safety_checker" in inspect.signature(kind.__init__).parameters:
        components["requires_safety_checker"] = False
    try:
        with quiet():
            return kind.from_pretrained(folder, low_cpu_mem_usage=False, **components)
    except FAILURES as error:
        raise ModelError(f"The pipeline in {folder} cannot be loaded: {error}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Disable the libraries' own progress bars, and restore them on exit."""
    loggers = [import_module("diffusers.utils.logging")]
    if "transformers" in sys.modules:
        loggers.append(import_module("transformers.utils.logging"))
    enabled = [logger for logger in loggers if logger.is_progress_bar_enabled()]
    try:
        for logger in enabled:
            logger.disable_progress_bar()
        yield
    finally:
        for logger in enabled:
            logger.enable_progress_bar()


def _network_class(library: str, name: str) -> Any:
    """Return the class of a component with weights; None for tokenizers and schedulers."""
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
