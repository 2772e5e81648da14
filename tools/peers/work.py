"""What a peer is given and what it hands back; needs nothing but PyTorch and diffusers.

The folder holds `unet/` and `work.pt`: noisy images, timesteps and noise, one row an evaluation.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel


def perform(prepare: Callable[[Any, list[Tensor], int], Callable[[], Tensor]]) -> None:
    """Do one library's work once for every line of the input; print the seconds of CPU it took.

    Args:
        prepare: from a network, the batch and k to what finds features of shape `(b, k)`; what a
            library does once for many batches belongs there.
    """
    folder, dim = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    unet = UNet2DModel.from_pretrained(folder / "unet").eval()
    work = prepare(unet, torch.load(folder / "work.pt"), dim)
    for _ in sys.stdin:
        start = time.process_time()
        with sdpa_kernel(SDPBackend.MATH):  # the only one that vmap knows to batch
            features = work()
        seconds = time.process_time() - start
        torch.save(features.detach().float(), folder / "features.pt")
        print(f"seconds {seconds}", flush=True)


def loss(unet: Any, parameters: Any, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """The diffusion loss of one evaluation, without a batch dimension."""
    output = torch.func.functional_call(unet, parameters, (x_t[None], t[None]))
    return (output.sample[0] - noise).square().mean()
