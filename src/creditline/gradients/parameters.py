"""Which parameters the gradient is taken in, and the layers they form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from creditline.errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor, nn


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


def select(module: nn.Module, pattern: str = "*") -> tuple[Layer, ...]:
    """Layers of the floating-point parameters whose names match `pattern`.

    Args:
        module: the network.
        pattern: comma-separated shell patterns over qualified parameter names; one that starts
            with `!` removes what the others selected, as in `"*attn*,!*.bias"`.

    Returns:
        Layers in the network's own order; shared parameters are counted once.

    Raises:
        SettingsError: if nothing matches; the message shows some names.
    """
    patterns = [part.strip() for part in pattern.split(",") if part.strip()]
    wanted = [p for p in patterns if not p.startswith("!")] or ["*"]
    unwanted = [p[1:] for p in patterns if p.startswith("!")]
    groups: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.is_floating_point():
            continue
        if any(fnmatchcase(name, p) for p in wanted) and not any(
            fnmatchcase(name, p) for p in unwanted
        ):
            groups.setdefault(name.rpartition(".")[0], []).append((name, tuple(parameter.shape)))
    if not groups:
        some = [name for name, _ in module.named_parameters()][:6]
        raise SettingsError(
            f"No parameter matches {pattern!r}. Names look like {', '.join(some)}; "
            "use shell patterns such as '*attn*', or '*' for all."
        )
    return tuple(
        Layer(name, tuple(p for p, _ in members), tuple(shape for _, shape in members))
        for name, members in groups.items()
    )


@contextmanager
def differentiable(module: nn.Module, layers: tuple[Layer, ...]) -> Iterator[list[list[Tensor]]]:
    """Parameters of `layers` with gradients on and all others off, restored afterwards."""
    before = {name: p.requires_grad for name, p in module.named_parameters()}
    chosen = {name for layer in layers for name in layer.parameters}
    named = dict(module.named_parameters())
    try:
        for name, parameter in named.items():
            parameter.requires_grad_(name in chosen)
        yield [[named[name] for name in layer.parameters] for layer in layers]
    finally:
        for name, parameter in named.items():
            parameter.requires_grad_(before[name])
