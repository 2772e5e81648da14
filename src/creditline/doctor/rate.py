"""Speed of a machine in computing and moving numbers, measured in about a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from creditline.runtime.threads import single_thread

SECONDS = 0.3
"""Time of each of the three measurements."""


@dataclass(frozen=True)
class MachineRate:
    """Operations and bytes of a device in a second.

    Attributes:
        product: floating-point operations of matrix products.
        convolution: floating-point operations of convolutions.
        moved: bytes read and written by elementwise operations; 0 if these cost nothing.
    """

    product: float
    convolution: float
    moved: float = 0.0

    def seconds(self, products: float, convolutions: float, moved: float) -> float:
        """Estimate the seconds of a number of operations and bytes."""
        time = products / self.product + convolutions / self.convolution
        return time + (moved / self.moved if self.moved else 0.0)


def measure_rate() -> MachineRate:
    """Measure one thread of this machine's CPU, in float32 and CPU time."""
    with single_thread(), torch.no_grad():
        a, x = torch.rand(1024, 320), torch.rand(1, 128, 32, 32)
        b, layer = torch.rand(320, 1280), nn.Conv2d(128, 128, 3, padding=1)
        activation = torch.rand(2**20)
        return MachineRate(
            product=2 * 1024 * 320 * 1280 * _per_second(lambda: a @ b),
            convolution=2 * 128 * 128 * 9 * 32 * 32 * _per_second(lambda: layer(x)),
            moved=2 * activation.nbytes * _per_second(lambda: torch.nn.functional.silu(activation)),
        )


def _per_second(work: Callable[[], object]) -> float:
    work()
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < SECONDS:
        work()
        count += 1
    return count / spent
