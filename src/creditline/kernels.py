"""A GPU's kernels, held to what the CPU's do by themselves: float32 sums, the same bits again.

PyTorch lets convolutions round their factors to ten binary digits on recent GPUs (TF32), and picks
kernels that add in changing order. The first costs a gradient three digits, the second makes a
training that was interrupted end elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from creditline.diffusion.precision import Precision


@contextmanager
def exact_kernels(device: torch.device, precision: Precision = "fp32") -> Iterator[None]:
    """Meanwhile a GPU multiplies float32 as such and adds in one order; a CPU does anyway.

    What the process had set comes back afterwards. A kernel that has no such form runs as it is and
    PyTorch warns of it, unless the process has PyTorch refuse it.

    Args:
        device: where the work is done.
        precision: "tf32" lets it round factors; half precision is no matter of these settings.
    """
    if device.type != "cuda":
        yield
        return
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    rounds = precision == "tf32"
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fills = memory.fill_uninitialized_memory
    matmul = torch.get_float32_matmul_precision()
    torch.use_deterministic_algorithms(True, warn_only=warns or not deterministic)
    memory.fill_uninitialized_memory = False  # nothing here reads such memory
    torch.set_float32_matmul_precision("high" if rounds else "highest")
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=rounds
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        memory.fill_uninitialized_memory = fills
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
