"""Precision of the network's arithmetic: float32, TF32, or half precision by autocast.

In TF32, a GPU rounds the factors of float32 products to ten binary digits. Weights stay in float32.
The objective and all sums over positions, evaluations and passes use float32 or better.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

from creditline.errors import SettingsError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
SCALE = {"fp32": 1.0, "tf32": 1.0, "bf16": 1.0, "fp16": 4096.0}
"""Scale of the objective in the backward pass, so that small gradients do not underflow
(Micikevicius et al., ICLR 2018). A power of two loses no digits. When a gradient overflows,
training halves the scale and repeats the step; feature extraction raises an error."""


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which the network is called."""
    import torch

    if precision in ("fp32", "tf32"):  # TF32 is a setting of the kernels
        return nullcontext()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=dtype)


def require_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that a device does not support.

    Raises:
        SettingsError: if the device does not support it.
    """
    import torch

    if precision == "fp32":
        return
    supported = torch.amp.is_autocast_available(device.type)
    if precision == "tf32":
        supported = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if supported and precision == "bf16" and device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    if not supported:
        raise SettingsError(
            f"Device {str(device)!r} does not calculate in {precision}. Use precision='fp32' "
            "(--precision fp32)."
        )
