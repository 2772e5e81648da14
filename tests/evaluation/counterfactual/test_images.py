"""Targets of a counterfactual as files, and in traces."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import GenerateConfig, TrainConfig, UNetConfig
from creditline.diffusion.generation import generate
from creditline.diffusion.train import train
from creditline.errors import CreditlineError, DamageError
from creditline.evaluation.counterfactual.experiment import CounterfactualConfig, run_counterfactual
from creditline.evaluation.counterfactual.images import RESULT, add_removals, read_removals
from creditline.evaluation.counterfactual.result import BEFORE
from creditline.notice import Notice
from creditline.records import MethodCard, QueryTrace
from creditline.runtime import Runtime
from creditline.stored_json import write_json
from creditline.trace import Trace

N, M = 6, 2
UNET = UNetConfig(resolution=8, channels=(4,), groups=4, head_dim=4)
CONFIG = TrainConfig(unet=UNET, steps=2, batch_size=4, learning_rate=0.02)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Folder and result of an evaluation of two targets."""
    folder = tmp_path_factory.mktemp("counterfactual")
    rng = np.random.default_rng(0)
    images = ImageSet.from_images(rng.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8))
    run = train(images, folder / "run", CONFIG, runtime=Runtime(threads=1))
    targets = generate(run, M, folder / "images", GenerateConfig(steps=2), batch_size=1)
    settings = CounterfactualConfig(removals=(3,), baselines=("random",))
    scores = {"d-trak": rng.standard_normal((M, N))}
    out = folder / "out"
    return out, run_counterfactual(images, targets, scores, out, config=CONFIG, settings=settings)


@pytest.fixture
def trace(done):
    """A trace whose second and third query images are the targets."""
    gray = np.full((8, 8, 3), 128, np.uint8)
    images = [gray, *done[1].images[BEFORE, 0]]
    queries = [
        QueryTrace(f"{i}", f"{i}.png", None, png(pixels), (), (), {}, 0.0, 1.0, 0)
        for i, pixels in enumerate(images)
    ]
    return Trace(MethodCard("d-trak", "D-TRAK", "", ""), {}, 10, tuple(queries), "", "")


@pytest.mark.slow
def test_a_trace_shows_what_became_of_the_targets(done, trace):
    folder, result = done
    other, *rest = add_removals(trace, read_removals(folder))
    assert other.removals == ()
    for i, query in enumerate(rest):
        changes = [c for c in result.changes if c.image == result.names[i]]
        assert [(r.rule, r.k, r.change) for r in query.removals] == [
            (c.rule, c.k, c.l2) for c in changes
        ]
        for removal in query.removals:
            pixels = np.asarray(Image.open(io.BytesIO(removal.image)))
            np.testing.assert_array_equal(pixels, result.images[removal.rule, removal.k][i])


@pytest.mark.slow
def test_targets_match_up_to_rounding(done, trace):
    target = done[1].images[BEFORE, 0][0].astype(int)

    def shift(levels):
        pixels = np.where(target > 127, target - levels, target + levels).astype(np.uint8)
        return replace(trace, queries=(replace(trace[1], image=png(pixels)),))

    assert add_removals(shift(1), read_removals(done[0]))[0].removals
    with pytest.warns(Notice, match="None of the 1 query images"):
        assert add_removals(shift(9), read_removals(done[0]))[0].removals == ()


@pytest.mark.slow
def test_targets_match_thumbnails(done, trace):
    target = Image.fromarray(done[1].images[BEFORE, 0][0])
    small = np.asarray(target.resize((6, 6), Image.Resampling.LANCZOS))
    query = replace(trace[1], image=png(small))
    result = add_removals(replace(trace, queries=(query,)), read_removals(done[0]))
    assert result[0].removals == add_removals(trace, read_removals(done[0]))[1].removals


@pytest.mark.slow
def test_results_with_a_lost_image_or_a_way_out_are_refused(done, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(done[0], folder)
    next((folder / "images").glob("random-3/*.png")).unlink()
    with pytest.raises(DamageError, match="random-3"):
        read_removals(folder)
    values = json.loads((folder / RESULT).read_text())
    values.pop("checksum", None)
    values["changes"][0]["image"] = "../../../secret.png"
    write_json(folder / RESULT, values, overwrite=True)
    with pytest.raises(CreditlineError, match="leads out"):
        read_removals(folder)
