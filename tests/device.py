"""Where tests of gradients and indexes run: CREDITLINE_TEST_DEVICE, by default the CPU."""

from __future__ import annotations

import os

import pytest
import torch

DEVICE = torch.device(os.environ.get("CREDITLINE_TEST_DEVICE", "cpu"))

of_cpus = pytest.mark.skipif(DEVICE.type != "cpu", reason="a rule for CPUs")
"""Of tests of what is so on a CPU only."""
