"""The demo end to end on a tiny model, and again."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from creditline import demo
from creditline.credit.totals import Total
from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig, UNetConfig
from creditline.diffusion.training_run import TrainingRun
from creditline.errors import CreditlineError
from creditline.records import QueryTrace
from creditline.runtime import Runtime

TINY = TrainConfig(unet=UNetConfig(8, (8,), groups=4), steps=3, batch_size=4)
SMALL = {"timesteps": 2, "dim": 64}


def run_demo(folder, images, config=TINY):
    """Run the tiny demo; return its results and its output."""
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "GENERATED", 4)
        output = demo.run(
            folder,
            runtime=Runtime(workers=1),
            images=images,
            config=config,
            say=said.append,
            **SMALL,
        )
    return output, "\n".join(said)


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, contributors=[f"artist {i % 3}" for i in range(12)])


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A finished demo: its folder, results and output."""
    folder = tmp_path_factory.mktemp("finished") / "demo"
    return folder, *run_demo(folder, images)


@pytest.fixture
def play(images, finished, tmp_path):
    """Run the tiny demo again in a copy of the finished one."""
    folder = tmp_path / "demo"
    shutil.copytree(finished[0], folder)
    return lambda config=TINY: run_demo(folder, images, config)


@pytest.mark.slow
def test_makes_a_report_and_says_everything(finished):
    folder, output, said = finished
    assert len(output.trace) == 4
    assert output.trace.n_train == 12
    assert output.report.read_text().startswith("<!")
    for step in ("load the icons", "train 3 steps", "generate 4", "index every icon"):
        assert step in said
    assert str(output.report.resolve()) in said
    held = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    assert output.disk == held
    for query in output.trace:
        assert f"{query.name}: artist" in said
        assert 0 < len(query.proponents) <= demo.TOP


@pytest.mark.slow
def test_again_does_nothing_again(play, finished, tmp_path):
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "demo").rglob("*") if p.is_file()}
    second, said = play()
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "demo").rglob("*") if p.is_file()}
    assert after == files
    assert second.trace == finished[1].trace
    assert "trace, and write a report" in said


@pytest.mark.slow
def test_goes_on_after_an_interruption(images, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo, "build_index", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_demo(tmp_path / "demo", images)
    steps = []
    monkeypatch.setattr(TrainingRun, "_step", lambda self: steps.append(self))
    output, _ = run_demo(tmp_path / "demo", images)
    assert output.report.is_file()
    assert steps == [], "training was finished and is not done again"


@pytest.mark.slow
def test_a_lost_report_is_written_again(play, tmp_path):
    (tmp_path / "demo" / "report.html").unlink()
    output, _ = play()
    assert output.report.is_file()


@pytest.mark.slow
def test_another_training_is_refused(play):
    with pytest.raises(CreditlineError, match="steps"):
        play(replace(TINY, steps=4))


def test_steps_follow_the_machine(tiny_images, tmp_path, monkeypatch):
    seconds = iter([0.5, 0.01, 1000.0])
    monkeypatch.setattr(demo, "_seconds_per_step", lambda c, p, d: next(seconds))
    assert demo._plan(tmp_path, tiny_images, Runtime()).steps == int(demo.TRAIN_SECONDS / 0.5)
    assert demo._plan(tmp_path, tiny_images, Runtime()).steps == int(demo.TRAIN_SECONDS / 0.5), (
        "kept"
    )
    (tmp_path / demo.PLAN).unlink()
    assert demo._plan(tmp_path, tiny_images, Runtime()).steps == demo.preset("icons-16").steps
    (tmp_path / demo.PLAN).unlink()
    assert demo._plan(tmp_path, tiny_images, Runtime()).steps == 100


@pytest.mark.slow
def test_a_step_is_timed_on_the_real_thing(tiny_images):
    assert 0 < demo._seconds_per_step(TINY, tiny_images, Runtime()) < 5


@pytest.mark.slow
def test_shows_as_many_icons_of_every_artist():
    icons = demo._icons()
    counts = {who: icons.contributors.count(who) for who in set(icons.contributors)}
    assert len(counts) == 4
    assert set(counts.values()) == {demo.ICONS_EACH}


def test_credit_line_as_text():
    query = QueryTrace(
        id="0",
        name="00000.png",
        text=None,
        image=b"",
        proponents=(),
        opponents=(),
        totals={
            "contributor": (
                Total("Ada", 5, 2.0, 3.0, 0.75, 8),
                Total(None, 5, 0.5, 1.0, 0.25, 2),
            )
        },
        mean=0.0,
        std=1.0,
        n_positive=4,
    )
    assert demo.credit_line(query) == "00000.png: Ada 75% (8), unknown 25% (2)"
