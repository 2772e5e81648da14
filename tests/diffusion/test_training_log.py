"""The log goes back with the run."""

from __future__ import annotations

import json

import pytest

from creditline.diffusion.training_log import TrainingLog


def steps(log):
    return [json.loads(line)["step"] for line in log.path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("step", [0, 2, 5, 9])
def test_what_comes_after_a_step_is_dropped(tmp_path, step):
    log = TrainingLog(tmp_path)
    for i in range(1, 6):
        log.append(i, 0.5, 1e-3)
    log.rewind(step)
    assert steps(log) == list(range(1, min(step, 5) + 1))
    log.append(step + 1, 0.25, 1e-3)
    last = log.path.read_text("utf-8").splitlines()[-1]
    assert json.loads(last) == {"step": step + 1, "loss": 0.25, "rate": 1e-3}


@pytest.mark.parametrize("cut", ['{"step": 3, "lo', '{"step"', "[]", '{"loss": 1}', "\x00\x00"])
def test_a_broken_line_and_all_after_it_are_dropped(tmp_path, cut):
    log = TrainingLog(tmp_path)
    log.append(1, 0.5, 1e-3)
    log.append(2, 0.5, 1e-3)
    with open(log.path, "a") as file:
        file.write(cut)
    log.rewind(9)
    assert steps(log) == [1, 2]


def test_a_new_run_begins_an_empty_log(tmp_path):
    log = TrainingLog(tmp_path)
    log.rewind(0)
    assert log.path.read_text() == ""
