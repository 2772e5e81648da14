"""Building an index: resumable at any point, equal however it came about."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import creditline as cl
from creditline.errors import CreditlineError, IndexMismatchError, ModelError, NumericsError
from creditline.features.gradients import GradientExtractor
from creditline.indexing import shard_files
from creditline.indexing.store import Store
from creditline.runtime import Runtime


def same(a, b) -> bool:
    return a.digest() == b.digest()


@pytest.mark.slow
def test_number_of_workers_does_not_change_a_bit(build):
    assert same(build("one"), build("two", runtime=Runtime(workers=2)))


@pytest.mark.slow
def test_an_interrupted_index_continues_to_the_same_one(build, monkeypatch):
    index = build("index")
    calls, extract = [], GradientExtractor.extract

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return extract(self, *args, **kwargs)

    monkeypatch.setattr(GradientExtractor, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build("part")
    assert len(calls) == 3
    continued = build("part")
    assert len(calls) == 4, "only the shard that was not declared is computed again"
    assert same(index, continued)
    assert not list(continued.path.glob("shards/*"))


@pytest.mark.slow
def test_a_shard_killed_between_data_and_declaration_is_computed_again(build, monkeypatch):
    index = build("index")
    original, calls = shard_files.write_json, []

    def killed(path, *args, **kwargs):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(path, *args, **kwargs)

    monkeypatch.setattr(shard_files, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        build("part")
    continued = build("part")
    assert same(index, continued)
    files = len(list((continued.path / "images.lance" / "data").glob("*.lance")))
    assert files == 3, "the orphan of the killed process is removed"


@pytest.mark.slow
def test_killed_between_commit_and_manifest(build, monkeypatch):
    index = build("index")
    monkeypatch.setattr(
        Store, "_remove_orphans", lambda self: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        build("part")
    monkeypatch.undo()
    assert same(index, build("part"))


SCRIPT = """
import sys
import creditline as cl
cl.index(sys.argv[1], sys.argv[2], method="trak", timesteps=12, dim=128, out=sys.argv[3],
         shard_rows=1, runtime=cl.Runtime(workers=int(sys.argv[4])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_sigkill_at_any_moment(tiny_folder, tiny_images, tmp_path, workers):
    images = tiny_images.save(tmp_path / "images")
    out = tmp_path / "killed"
    command = [sys.executable, "-c", SCRIPT, str(tiny_folder), str(images), str(out), str(workers)]
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(out.glob("shards/*.json"))) < 3 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(list(out.glob("shards/*.json")))
    assert 3 <= done < len(tiny_images)
    settings = {"method": "trak", "timesteps": 12, "dim": 128, "shard_rows": 1}
    continued = cl.index(tiny_folder, images, out=out, **settings)
    index = cl.index(tiny_folder, images, out=tmp_path / "index", **settings)
    assert same(index, continued)


@pytest.mark.slow
def test_asking_again_for_a_finished_index_does_nothing(build, monkeypatch):
    first = build()
    monkeypatch.setattr(
        GradientExtractor, "extract", lambda *a, **k: pytest.fail("no work expected")
    )
    assert same(first, build())


@pytest.mark.slow
def test_other_settings_are_refused_with_both_values(build):
    build()
    with pytest.raises(IndexMismatchError, match="timesteps: 3 on disk, 2 asked for"):
        build(timesteps=2)
    assert build(timesteps=2, overwrite=True).method.features.plan.timesteps == 2


@pytest.mark.slow
def test_other_weights_are_refused(build, tiny_model):
    build()
    tiny_model.module.conv_in.bias.data += 1
    other = type(tiny_model)(tiny_model.module, tiny_model.process)
    with pytest.raises(IndexMismatchError, match="fingerprint"):
        build(model=other)


@pytest.mark.slow
def test_other_images_are_refused(build, tiny_images):
    build()
    with pytest.raises(IndexMismatchError, match="images"):
        build(images=tiny_images.subset(range(6)))


@pytest.mark.slow
def test_a_foreign_folder_is_left_alone(build, tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "letter.txt").write_text("dear")
    with pytest.raises(CreditlineError, match="nothing was changed"):
        build()
    assert (tmp_path / "index" / "letter.txt").read_text() == "dear"


@pytest.mark.slow
def test_a_full_disk_loses_nothing(build, monkeypatch):
    index = build("index")
    original, calls = Store.write_shard, []

    def full(self, *args):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        original(self, *args)

    monkeypatch.setattr(Store, "write_shard", full)
    with pytest.raises(CreditlineError, match="1 of 3 shards are safe"):
        build("part")
    monkeypatch.undo()
    assert same(index, build("part"))


@pytest.mark.slow
def test_too_little_room_is_seen_before_work(build, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda p: usage._replace(free=10))
    with pytest.raises(CreditlineError, match="GB free"):
        build()


@pytest.mark.slow
def test_a_feature_that_is_not_finite_names_the_image(build, tiny_model, monkeypatch):
    def broken(self, images, indices, *args, **kwargs):
        features = np.ones((len(indices), 1, 1, self.dim), dtype=np.float32)
        features[1] = np.inf
        return features

    monkeypatch.setattr(GradientExtractor, "extract", broken)
    with pytest.raises(NumericsError, match=r"00001\.png"):
        build()


def test_images_that_do_not_fit_are_refused_before_a_folder_is_made(build, tmp_path):
    pixels = np.zeros((4, 16, 16, 3), dtype=np.uint8)
    with pytest.raises(ModelError, match="8x8"):
        build(images=cl.ImageSet.from_images(pixels))
    assert not (tmp_path / "index").exists()


@pytest.mark.slow
def test_stored_features_are_the_extracted_ones_to_half_precision(build, tiny_model, tiny_images):
    index = build()
    source = GradientExtractor([tiny_model], index.method.features)
    exact = source.extract(tiny_images, range(len(tiny_images)))[:, 0, 0]
    stored = index.features()
    error = np.linalg.norm(stored - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert error.max() < 5e-4


@pytest.mark.slow
def test_several_models(build, tiny_model, tiny_images, tmp_path):
    import copy

    other = type(tiny_model)(copy.deepcopy(tiny_model.module), tiny_model.process)
    other.module.conv_in.weight.data *= 1.5
    both = build("both", model=[tiny_model, other])
    apart = [build("a", model=tiny_model), build("b", model=other)]
    expected = np.mean([i.scores(tiny_images) for i in apart], axis=0)
    np.testing.assert_allclose(both.scores(tiny_images), expected, rtol=1e-9)
