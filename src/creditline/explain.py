"""Errors of libraries that a user's mistake causes, said in Creditline's own words."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from creditline.errors import (
    CreditlineError,
    DataError,
    ModelError,
    ResourceError,
    SettingsError,
)

P = ParamSpec("P")
R = TypeVar("R")

MEMORY = (
    "can't allocate memory",
    "out of memory",
    "not enough memory",
    "calculation overflowed",
    "array is too big",
)
INFERENCE = ("inference tensor", "inference_mode", "inference mode")
META = ("meta tensor", "meta device", "device meta")
SHAPES = (
    "sizes of tensors must match",
    "the size of tensor a",
    "is invalid for input of size",
    "shapes cannot be multiplied",
    "kernel size can't be greater than actual input size",
    "output size is too small",
)
TOO_LARGE = ("overflow when unpacking", "too large to convert", "maximum allowed dimension")
"""Parts of messages of torch and NumPy, in lower case."""


def explain(error: Exception) -> CreditlineError | None:
    """Return our error for a library's, with the cause quoted; None for one that is unexpected."""
    if isinstance(error, CreditlineError):
        return error
    text = str(error).lower()
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"} or _has(text, MEMORY):
        return ResourceError(
            f"There is not enough memory for this ({_quote(error)}). Ask for less at a time "
            "(smaller images, fewer dimensions, timesteps or draws), or use a machine with more."
        )
    if isinstance(error, RecursionError):
        return DataError("A file is nested too deeply to be read. Give one with fewer levels.")
    if isinstance(error, UnicodeError):
        return DataError(
            f"A name or text has characters that cannot be written ({_quote(error)}). Rename it."
        )
    if isinstance(error, OverflowError) or _has(text, TOO_LARGE):
        return SettingsError(
            f"A number is too large ({_quote(error)}). Check the numbers that were given."
        )
    if isinstance(error, RuntimeError) and _has(text, INFERENCE):
        return SettingsError(
            "Gradients cannot be computed inside torch.inference_mode(), nor of a model that was "
            "made there. Leave it, load the model again, and repeat the call."
        )
    if isinstance(error, RuntimeError) and _has(text, META):  # NotImplementedError included
        return ModelError(
            "The model's weights are on the meta device, where they have no values. Load them on "
            "a real device, such as cpu."
        )
    if isinstance(error, RuntimeError) and _has(text, SHAPES):
        return ModelError(
            f"The network cannot process images of this shape ({_quote(error)}). Their sides must "
            "be divisible by two once for each level of the network that halves them."
        )
    return None


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function of the public API: errors that `explain` knows become ours."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except CreditlineError:
            raise
        except Exception as error:
            known = explain(error)
            if known is None:
                raise
            raise known from error

    return call


def _has(text: str, parts: tuple[str, ...]) -> bool:
    return any(part in text for part in parts)


def _quote(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0][:200] if lines else type(error).__name__).rstrip(".")
