"""Precision of the network's own arithmetic: float32, TF32, or half precision by autocast.

TF32 is float32 whose factors a GPU rounds to ten binary digits before it multiplies them. Weights
stay in float32; everything that is summed over places, evaluations or passes, the objective and all
that follows it are float32 or better in any case.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

from creditline.errors import SettingsError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
SCALE = {"fp32": 1.0, "tf32": 1.0, "bf16": 1.0, "fp16": 4096.0}
"""What the objective is multiplied by on the way back, so that small gradients do not underflow
(Micikevicius et al., ICLR 2018). A power of two: no digit is lost. Where a gradient overflows, a
training halves it for good and does the step again; features are refused."""


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which the network is called."""
    import torch

    if precision in ("fp32", "tf32"):  # which is a setting of the kernels
        return nullcontext()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=dtype)


def require_precision(precision: Precision, device: torch.device) -> None:
    """Refuse what a device cannot do.

    Raises:
        SettingsError: if it has no autocast, or no such numbers.
    """
    import torch

    if precision == "fp32":
        return
    able = torch.amp.is_autocast_available(device.type)
    if precision == "tf32":
        able = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if able and precision == "bf16" and device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    if not able:
        raise SettingsError(
            f"Device {str(device)!r} does not calculate in {precision}. Use precision='fp32' "
            "(--precision fp32)."
        )
