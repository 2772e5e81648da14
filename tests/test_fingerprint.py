"""Fingerprints change with what they are taken of and with nothing else."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline import fingerprint
from creditline.fingerprint import key64, of_arrays, of_bytes, of_json


@pytest.mark.slow
@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_parts_do_not_run_together(a, b):
    assert (of_bytes(*a) == of_bytes(*b)) == (a == b)


def test_json_does_not_depend_on_key_order_but_on_values():
    assert of_json({"a": 1, "b": [1, 2]}) == of_json({"b": [1, 2], "a": 1})
    values = [{"a": 1}, {"a": 1.5}, {"a": "1"}, {"a": None}, {"b": 1}, {"a": [1]}, {}]
    assert len({of_json(v) for v in values}) == len(values)


def test_arrays_by_name_type_shape_and_bytes():
    x = np.arange(6, dtype=np.float32)
    same = [("w", x), ("b", x[:2])]
    assert of_arrays(same) == of_arrays(same[::-1])
    assert of_arrays([("w", x[::2])]) == of_arrays([("w", x[::2].copy())])
    others = [
        [("w", x)],
        [("v", x)],
        [("w", x.reshape(2, 3))],
        [("w", x.reshape(3, 2))],
        [("w", x.astype(np.float64))],
        [("w", x.view(np.int32))],
        [("w", -x)],  # differs in the sign of zero as well
        [("w", np.nextafter(x, np.float32(9)))],
        same,
    ]
    assert len({of_arrays(named) for named in others}) == len(others)


def test_length_and_alphabet():
    for value in (of_bytes(), of_json(None), of_arrays([])):
        assert len(value) == fingerprint.LENGTH
        assert set(value) <= set("0123456789abcdef")


def test_keys_depend_on_every_part_and_keep_them_apart():
    parts = [("a", 1, 2), ("a", 12), ("a", 1, 3), ("b", 1, 2), ("a", "1", "2 "), ()]
    keys = {tuple(key64(*p).tolist()) for p in parts}
    assert len(keys) == len(parts)
    assert key64("a", 1).shape == (2,)
    assert key64("a", 1).dtype == np.uint64
    np.random.Philox(key=key64("a", 1))


@pytest.mark.slow
def test_keys_are_the_same_in_every_process():
    code = "from creditline.fingerprint import key64; print(key64('order', 3, 1).tolist())"
    output = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert output == {str(key64("order", 3, 1).tolist())}


def test_versions_name_what_can_change_a_number():
    result = fingerprint.versions()
    assert {"python", "torch", "numpy", "diffusers", "creditline"} <= set(result)
    assert result["numpy"] == np.__version__


@pytest.mark.parametrize("problem", [FileNotFoundError(), subprocess.TimeoutExpired("git", 5)])
def test_no_git_means_no_revision(monkeypatch, problem):
    def fail(*_, **__):
        raise problem

    monkeypatch.setattr(fingerprint.subprocess, "run", fail)
    assert fingerprint.git_revision() is None
