"""GPU kernels that compute in float32 and add in one order, as CPU kernels do anyway.

On recent GPUs PyTorch lets convolutions round their factors to ten binary digits (TF32), and picks
kernels that add in changing order. The first costs a gradient three digits. The second makes an
interrupted training end with other weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@contextmanager
def exact_kernels(device: torch.device, allow_tf32: bool = False) -> Iterator[None]:
    """Let a GPU multiply float32 exactly and add in one order; restore its settings afterwards.

    A kernel without a deterministic form runs as it is, with a warning of PyTorch's, unless the
    process makes PyTorch refuse it. On a CPU nothing changes.

    Args:
        device: where the work is done.
        allow_tf32: let it round factors to TF32.
    """
    if device.type != "cuda":
        yield
        return
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fills = memory.fill_uninitialized_memory
    matmul = torch.get_float32_matmul_precision()
    torch.use_deterministic_algorithms(True, warn_only=warns or not deterministic)
    memory.fill_uninitialized_memory = False  # nothing here reads such memory
    torch.set_float32_matmul_precision("high" if allow_tf32 else "highest")
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=allow_tf32
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        memory.fill_uninitialized_memory = fills
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
