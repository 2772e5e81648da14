"""Which parameters are differentiated, and the layers they form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from creditline.diffusion.adapters import adapter_parameters
from creditline.errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor, nn


NAMED = ("trained", "adapters", "cross-attention")
"""Named sets of parameters."""


@dataclass(frozen=True)
class Layer:
    """The selected parameters of one module: a block of the gradient.

    Attributes:
        name: the module's qualified name.
        parameters: qualified parameter names, in the module's order.
        shapes: of each.
    """

    name: str
    parameters: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return sum(math.prod(shape) for shape in self.shapes)


def select_layers(module: nn.Module, pattern: str = "*") -> tuple[Layer, ...]:
    """Select floating-point parameters by name, grouped by module.

    Args:
        module: the network.
        pattern: comma-separated shell patterns over qualified parameter names; one that starts
            with `!` removes what the others selected, as in `"*attn*,!*.bias"`. Or one of
            `"trained"` (those of active adapters if there are any, else all),
            `"adapters"` (the same, but there must be some) and `"cross-attention"` (those of
            `"trained"` in attention to the condition, joint attention included).

    Returns:
        Layers in the network's own order; shared parameters are counted once.

    Raises:
        SettingsError: if nothing matches; the message lists some names.
        ModelError: if an active adapter is merged into the weights.
    """
    names = _named_set(module, pattern)
    if names is not None:
        return _group_by_module(module, names.__contains__, pattern)
    patterns = [part.strip() for part in pattern.split(",") if part.strip()]
    included = [p for p in patterns if not p.startswith("!")] or ["*"]
    excluded = [p[1:] for p in patterns if p.startswith("!")]

    def matches(name: str) -> bool:
        return any(fnmatchcase(name, p) for p in included) and not any(
            fnmatchcase(name, p) for p in excluded
        )

    return _group_by_module(module, matches, pattern)


def _named_set(module: nn.Module, name: str) -> set[str] | None:
    """Return the parameters of a named set; None: the name of no set."""
    if name not in NAMED:
        return None
    adapters = adapter_parameters(module)
    if name == "adapters" or adapters:
        trained = adapters
    else:
        trained = {parameter for parameter, _ in module.named_parameters()}
    if name != "cross-attention":
        return trained
    places = [f"{place}." for place, part in module.named_modules() if _attends_to_condition(part)]
    return {parameter for parameter in trained if parameter.startswith(tuple(places))}


def _attends_to_condition(part: nn.Module) -> bool:
    """Whether a module is diffusers' cross-attention, or joint attention with a condition."""
    crossing = getattr(part, "is_cross_attention", False)
    return bool(crossing) or getattr(part, "added_kv_proj_dim", None) is not None


def _group_by_module(
    module: nn.Module, matches: Callable[[str], bool], pattern: str
) -> tuple[Layer, ...]:
    groups: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for name, parameter in module.named_parameters():
        if parameter.is_floating_point() and matches(name):
            groups.setdefault(name.rpartition(".")[0], []).append((name, tuple(parameter.shape)))
    if not groups:
        some = [name for name, _ in module.named_parameters()][:6]
        raise SettingsError(
            f"No parameter matches {pattern!r}. Names look like {', '.join(some)}; "
            f"use shell patterns such as '*attn*', '*' for all, or {', '.join(NAMED)}."
        )
    return tuple(
        Layer(name, tuple(p for p, _ in members), tuple(shape for _, shape in members))
        for name, members in groups.items()
    )


@contextmanager
def enable_gradients(module: nn.Module, layers: tuple[Layer, ...]) -> Iterator[list[list[Tensor]]]:
    """Require gradients of these layers only; yields their parameters, restores all afterwards."""
    before = {name: p.requires_grad for name, p in module.named_parameters()}
    selected = {name for layer in layers for name in layer.parameters}
    named = dict(module.named_parameters())
    try:
        for name, parameter in named.items():
            parameter.requires_grad_(name in selected)
        yield [[named[name] for name in layer.parameters] for layer in layers]
    finally:
        for name, parameter in named.items():
            parameter.requires_grad_(before[name])
