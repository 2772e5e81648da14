"""Parameters without a module of their own that are added to something of every evaluation.

The transformers of PixArt and their blocks shift and scale by `scale_shift_table[None] + ...`. If
each evaluation has its own copy of the table, its gradient is known by evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

OWN = "scale_shift_table"
OWNERS = ("BasicTransformerBlock", "PixArtTransformer2DModel")
"""Classes of diffusers that use their table only as `table[None]`."""


@dataclass(frozen=True)
class ParameterTable:
    """A parameter whose gradient is computed by evaluation.

    Attributes:
        module: the module that owns it.
        name: qualified name of the parameter.
    """

    module: nn.Module
    name: str


def is_table(module: nn.Module, own: str) -> bool:
    """Whether a parameter is used as a table, by its own name and its module's class."""
    kind = type(module)
    return own == OWN and kind.__name__ in OWNERS and kind.__module__.startswith("diffusers.")


@contextmanager
def expand_tables(
    tables: Sequence[ParameterTable], n: int, on_use: Callable[[ParameterTable, Tensor], None]
) -> Iterator[None]:
    """Give each of `n` evaluations its own copy of some tables meanwhile.

    Args:
        tables: parameters to copy.
        n: evaluations of a pass.
        on_use: called whenever a table is used, with its copies, a leaf of shape `(n, *table)`.
    """
    before = [table.module._parameters[OWN] for table in tables]
    try:
        for table, parameter in zip(tables, before, strict=True):
            stand_in: Any = parameter.detach().as_subclass(_RepeatedTable)  # type: ignore[union-attr]
            stand_in.table, stand_in.n, stand_in.on_use = table, n, on_use
            table.module._parameters[OWN] = stand_in
        yield
    finally:
        for table, parameter in zip(tables, before, strict=True):
            table.module._parameters[OWN] = parameter


class _RepeatedTable(Tensor):
    """Replaces a table: `[None]` returns a leaf with one row per evaluation."""

    # Results are plain tensors.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    table: ParameterTable
    n: int
    on_use: Callable[[ParameterTable, Tensor], None]

    def __getitem__(self, index: Any) -> Tensor:
        if index is not None:
            return super().__getitem__(index)
        table = super().__getitem__(None)
        leaf = table.detach().expand(self.n, *self.shape).requires_grad_()
        self.on_use(self.table, leaf)
        return leaf
