"""A fit in parts: bitwise equal however it runs, continued where it stopped, of no other data."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.errors import IndexMismatchError
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import select_layers
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.preconditioning import fit as module
from creditline.gradients.preconditioning.draws import CurvatureDraws
from creditline.gradients.preconditioning.ekfac import EKFAC
from creditline.gradients.preconditioning.fit import fit_preconditioner
from creditline.notice import Notice
from creditline.runtime import Runtime

SETTINGS = Preconditioning("ekfac", preconditioner_draws=24)

pytestmark = pytest.mark.slow


class LastFirst:
    """Runs the tasks of a job in reverse."""

    name = "last-first"

    def map(self, function, shared, tasks):
        for task in reversed(tasks):
            yield task, function(shared, task)


@pytest.fixture
def fit(tiny_model, tiny_images):
    layers = select_layers(tiny_model.module)

    def run(folder, images=tiny_images, runtime=None, settings=SETTINGS):
        engine = HookEngine(tiny_model, layers, Objective(), microbatch=8)
        preconditioner = EKFAC(settings, layers)
        fit_preconditioner(preconditioner, engine, images, folder, runtime or Runtime())
        return preconditioner.state()

    return run


def assert_equal(a, b):
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stop", [0, 5, 11, 12, 20])
def test_an_interrupted_fit_ends_in_the_same_state(fit, tmp_path, monkeypatch, stop):
    expected, add_up, calls = fit(tmp_path / "one"), module.CurvaturePass.add_up, iter(range(99))

    def interrupt(job, part):
        if next(calls) == stop:
            raise KeyboardInterrupt
        return add_up(job, part)

    monkeypatch.setattr(module.CurvaturePass, "add_up", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "two")
    before = next(calls)
    assert_equal(fit(tmp_path / "two"), expected)
    # 12 parts in each of two passes; what was stored is not computed again.
    assert next(calls) - before - 1 == 24 - stop
    assert [path.name for path in (tmp_path / "two").rglob("*.safetensors")] == [
        "curvature.safetensors"
    ]


def test_the_order_and_the_number_of_workers_do_not_matter(fit, tmp_path):
    expected = fit(tmp_path / "one")
    assert_equal(fit(tmp_path / "two", runtime=Runtime(executor=LastFirst())), expected)
    assert_equal(fit(tmp_path / "three", runtime=Runtime(workers=2)), expected)


def test_a_stored_result_is_used_by_any_damping(fit, tmp_path, monkeypatch):
    expected = fit(tmp_path)
    monkeypatch.setattr(module.CurvaturePass, "add_up", None)
    assert_equal(fit(tmp_path), expected)
    other = Preconditioning("ekfac", preconditioner_draws=24, preconditioner_damping=0.3)
    assert_equal(fit(tmp_path, settings=other), expected)


def test_other_images_have_a_fit_of_their_own(fit, tmp_path, tiny_images):
    all_images, some = fit(tmp_path), fit(tmp_path, tiny_images.subset(range(6)))
    assert len(list(tmp_path.iterdir())) == 2
    assert any(not np.array_equal(all_images[name], some[name]) for name in all_images)


def test_the_fit_of_another_model_is_refused(fit, tmp_path, tiny_images):
    fit(tmp_path / "one")
    fit(tmp_path / "two", tiny_images.subset(range(6)))
    ((own,), (other,)) = (list((tmp_path / name).iterdir()) for name in ("one", "two"))
    (other / "curvature.safetensors").replace(own / "curvature.safetensors")
    with pytest.raises(IndexMismatchError, match="another model or other images"):
        fit(tmp_path / "one")


def test_a_damaged_result_is_fitted_again_with_a_notice(fit, tmp_path):
    expected = fit(tmp_path)
    (path,) = tmp_path.rglob("curvature.safetensors")
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.warns(Notice, match="computed again"):
        assert_equal(fit(tmp_path), expected)


def test_stratified_draws_cover_all_timesteps_with_opposite_noise(tiny_model, tiny_images):
    settings = Preconditioning("ekfac", preconditioner_draws=120, preconditioner_noise="stratified")
    draws = CurvatureDraws(settings, len(tiny_images))
    assert (draws.each, draws.evaluations) == (10, 120)
    (noised,) = draws.noised_images(tiny_model, tiny_images, [3], 0)
    assert (noised.t.numpy() // 100 == np.arange(10)).all()
    assert (noised.noise[1::2] == -noised.noise[0::2]).all()
    (again,) = draws.noised_images(tiny_model, tiny_images.subset([3]), [0], 0)
    assert (again.t == noised.t).all()
    (other,) = draws.noised_images(tiny_model, tiny_images, [3], 1)
    assert (other.t != noised.t).any()


def test_fewer_draws_than_images_are_spread_over_the_set():
    draws = CurvatureDraws(Preconditioning("ekfac", preconditioner_draws=4), 12)
    assert draws.rows.tolist() == [0, 3, 6, 9]
    assert draws.each == 1
