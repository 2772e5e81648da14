"""Options of every command that loads a model or runs one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from creditline.bounds import COUNT
from creditline.cli.options import NumberType, given_settings, settings_options
from creditline.cli.runtime import device_option, runtime
from creditline.curvature.kernel import MEMORY
from creditline.diffusion.encoding_config import EncodingConfig
from creditline.errors import SettingsError
from creditline.settings import override

if TYPE_CHECKING:
    from creditline.diffusion.denoiser import Denoiser
    from creditline.indexing.index import Index

F = TypeVar("F", bound=Callable[..., Any])


def model_options(command: F) -> F:
    """Decorate a command with where a model runs and what may be loaded."""
    command = click.option(
        "--allow-pickle", is_flag=True, help="accept weights that are not safetensors (runs code)"
    )(command)
    command = click.option("--scheduler", help="scheduler folder of a bare model")(command)
    return device_option(command)


def parts_options(command: F) -> F:
    """Decorate a command with `model_options` and options for adapters and encoding."""
    command = settings_options(EncodingConfig(), section="Latents and prompts")(command)
    command = click.option(
        "--pipeline", help="pipeline folder that a bare model's other parts come from"
    )(command)
    command = click.option(
        "--lora",
        "adapters",
        multiple=True,
        metavar="[NAME=]PATH",
        help="adapter that acts on the model: a file or PEFT folder; repeat for several",
    )(command)
    command = click.option(
        "--variant",
        help="variant of the weight files, such as fp16 or non_ema  "
        "[default: files without one, or the only variant]",
    )(command)
    return model_options(command)


def indexed_options(command: F) -> F:
    """Decorate a command with `model_options` and options for an existing index."""
    command = click.option(
        "--memory",
        type=NumberType(COUNT),
        default=MEMORY,
        show_default=True,
        help="bytes that fitting the curvature may take",
    )(command)
    command = click.option(
        "--training-images",
        metavar="DATA",
        help="the indexed images, if they moved and the method needs them for a query",
    )(command)
    return click.option(
        "--model", "paths", multiple=True, help="the indexed model, if it moved; repeat for several"
    )(model_options(command))


def load(source: str, **settings: Any) -> Denoiser:
    """The model of `source`, as the current command's options say.

    Args:
        source: where it is.
        settings: of `load_model`, instead of what the options say.
    """
    from creditline.diffusion.load import load_model

    values = click.get_current_context().params
    return load_model(
        source,
        **{**_common(), **settings},
        pipeline=values["pipeline"],
        lora=_adapters(values["adapters"]),
        variant=values["variant"],
        encoding=override(EncodingConfig(), given_settings(EncodingConfig())),
    )


def _common() -> dict[str, Any]:
    """`model_options`, for `load_model`."""
    values = click.get_current_context().params
    return {
        "device": runtime().main_device,
        **{name: values[name] for name in ("scheduler", "allow_pickle")},
    }


def _adapters(listed: Sequence[str]) -> dict[str, str]:
    """Adapters by name; those without one are numbered."""
    adapters: dict[str, str] = {}
    for i, text in enumerate(listed):
        name, separator, path = text.partition("=")
        if not separator:
            name, path = "adapter" if len(listed) == 1 else f"adapter_{i}", text
        if name in adapters:
            raise SettingsError(f"Two adapters are called {name!r}. Give each a name of its own.")
        adapters[name] = path
    return adapters


def open_index(index: str, paths: Sequence[str], keep: bool = True) -> Index:
    """Open the index at a path, with its model loaded as the current command's options say.

    Args:
        index: its folder.
        paths: where its models are now; empty if they did not move.
        keep: whether traces keep preconditioned features.
    """
    from creditline import api, methods
    from creditline.indexing.resources import load_models

    values = click.get_current_context().params
    if values.get("method"):  # named by its place, it is imported only because the user says so
        methods.get(values["method"])
    manifest = api.open_index(index).manifest
    if not paths and (values["scheduler"] or values["allow_pickle"]):
        paths = [path for path in manifest.facts["model_sources"] if path is not None]
    listed = load_models(manifest, paths, **_common())
    return api.open_index(
        index,
        model=listed or None,
        images=values["training_images"],
        runtime=runtime(),
        memory=values["memory"],
        keep=keep,
    )


def existing(index: str) -> Path:
    """The folder of an index that is there, before it is locked.

    Raises:
        CreditlineError: if it holds no index.
    """
    from creditline.manifest import Manifest

    Manifest.read(Path(index), "index")
    return Path(index)
