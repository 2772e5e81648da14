"""Where tests of gradients and indexes run: CREDITLINE_TEST_DEVICE, by default the CPU."""

from __future__ import annotations

import os

import torch

DEVICE = torch.device(os.environ.get("CREDITLINE_TEST_DEVICE", "cpu"))
