"""Settings of a GPU's kernels: in force meanwhile, and afterwards as they were."""

from __future__ import annotations

import pytest
import torch

from creditline.runtime.determinism import exact_kernels


def settings():
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warns": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fills": torch.utils.deterministic.fill_uninitialized_memory,
        "matmul": torch.get_float32_matmul_precision(),
        "convolutions in tf32": torch.backends.cudnn.allow_tf32,
        "convolutions deterministic": torch.backends.cudnn.deterministic,
        "benchmark": torch.backends.cudnn.benchmark,
    }


EXACT = {
    "deterministic": True,
    "warns": True,
    "fills": False,
    "matmul": "highest",
    "convolutions in tf32": False,
    "convolutions deterministic": True,
    "benchmark": False,
}


def test_a_gpu_is_held_to_float32_and_one_order():
    before = settings()
    with exact_kernels(torch.device("cuda")):
        assert settings() == EXACT
    assert settings() == before


def test_tf32_is_allowed_where_it_is_asked_for():
    with exact_kernels(torch.device("cuda"), allow_tf32=True):
        assert settings() == {**EXACT, "convolutions in tf32": True, "matmul": "high"}


def test_a_process_that_refuses_other_kernels_goes_on_doing_so():
    torch.use_deterministic_algorithms(True)
    try:
        with exact_kernels(torch.device("cuda")):
            assert settings() == {**EXACT, "warns": False}
    finally:
        torch.use_deterministic_algorithms(False)


def test_settings_of_the_process_come_back_after_an_error():
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("medium")
    before = settings()
    try:
        with pytest.raises(ValueError, match="meanwhile"), exact_kernels(torch.device("cuda", 0)):
            raise ValueError("meanwhile")
        assert settings() == before
    finally:
        torch.backends.cudnn.benchmark = False
        torch.set_float32_matmul_precision("highest")


def test_nothing_is_touched_on_a_cpu():
    before = settings()
    with exact_kernels(torch.device("cpu")):
        assert settings() == before
