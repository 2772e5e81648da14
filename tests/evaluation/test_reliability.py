"""The split-half noise compared, on an index of a tiny model."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import creditline as cl
from creditline.cli.evaluate.reliability import command
from creditline.errors import SettingsError
from creditline.evaluation.reliability import measure_reliability


@pytest.mark.slow
def test_counts_are_those_of_the_halves(trak_index, images_of_contributors):
    (actual,) = measure_reliability(trak_index, images_of_contributors, top=5)
    features = trak_index.extract(images_of_contributors)
    scores, noise = trak_index.scores(features), trak_index.noise(features)
    assert actual.queries == len(actual.per_query) == 12
    assert actual.above == pytest.approx((np.abs(scores) > 3 * noise.error).mean())
    best = np.sort(scores, axis=1)[:, -5:]
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    floor = np.take_along_axis(3 * noise.error, rows, 1)
    assert actual.top_above == pytest.approx((np.sort(best, axis=1)[:, ::-1] > floor).mean())
    assert 0 < actual.agreeing <= actual.compared
    low, high = actual.interval
    assert low <= actual.rate <= high


@pytest.mark.slow
def test_nothing_above_the_floor_has_no_rate(trak_index, images_of_contributors):
    (actual,) = measure_reliability(trak_index, images_of_contributors)
    nothing = replace(actual, agreeing=0, compared=0)
    assert math.isnan(nothing.rate)
    assert nothing.interval is None


@pytest.mark.slow
def test_the_command_prints_a_row_for_each_method(trak_index, images_of_contributors, tmp_path):
    queries = images_of_contributors.save(tmp_path / "queries")
    methods = ("--method", "trak", "--method", "gradient-cosine")
    result = CliRunner().invoke(command, [str(trak_index.path), str(queries), *methods])
    assert result.exit_code == 0, result.output
    assert "TRAK  " in result.output
    assert "Gradient (cosine)" in result.output
    assert "silent: queries without" in result.output


def test_methods_without_noise_are_refused(trak_index, images_of_contributors, tmp_path):
    pixels = cl.index(None, images_of_contributors, method="pixel-dot", out=tmp_path / "pixels")
    with pytest.raises(SettingsError, match="Choose gradient methods"):
        list(measure_reliability(pixels, images_of_contributors))
    with pytest.raises(SettingsError, match="top must be at least 1"):
        list(measure_reliability(trak_index, images_of_contributors, top=0))
