"""Tables: parameters of no module of their own that are added to something of every evaluation.

The transformers of PixArt and their blocks shift and scale by `scale_shift_table[None] + ...`. What
is added up over the evaluations there can be told apart if each is given a copy of the table.
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
"""Classes of diffusers that use their table as `table[None]`, and in no other way."""


@dataclass(frozen=True)
class ParameterTable:
    """A parameter whose gradient is taken by evaluations.

    Attributes:
        module: that has it.
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
    tables: Sequence[ParameterTable], n: int, made: Callable[[ParameterTable, Tensor], None]
) -> Iterator[None]:
    """Meanwhile a table gives each of `n` evaluations a copy.

    Args:
        tables: which.
        n: evaluations of a pass.
        made: is told of the copies, a leaf of shape `(n, *table)`, whenever a table is used.
    """
    before = [table.module._parameters[OWN] for table in tables]
    try:
        for table, parameter in zip(tables, before, strict=True):
            stand_in: Any = parameter.detach().as_subclass(_RepeatedTable)  # type: ignore[union-attr]
            stand_in.table, stand_in.n, stand_in.made = table, n, made
            table.module._parameters[OWN] = stand_in
        yield
    finally:
        for table, parameter in zip(tables, before, strict=True):
            table.module._parameters[OWN] = parameter


class _RepeatedTable(Tensor):
    """Stands in for a table: `[None]` is a leaf with a row for every evaluation."""

    # Results are plain tensors.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    table: ParameterTable
    n: int
    made: Callable[[ParameterTable, Tensor], None]

    def __getitem__(self, index: Any) -> Tensor:
        if index is not None:
            return super().__getitem__(index)
        whole = super().__getitem__(None)
        leaf = whole.detach().expand(self.n, *self.shape).requires_grad_()
        self.made(self.table, leaf)
        return leaf
