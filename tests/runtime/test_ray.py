"""The Ray executor: the contract of all executors, killed workers, and the same bytes as local."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.runtime import contract
from tests.runtime.contract import CONTRACT, OF_WORKERS, add_shift

import creditline as cl
from creditline.diffusion.config import GenerateConfig, TrainConfig, UNetConfig
from creditline.errors import CreditlineError, SettingsError
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
from creditline.runtime import DeviceMap, Runtime

ray = pytest.importorskip("ray")
executor = pytest.importorskip("creditline.runtime.ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two CPUs that this process has joined, as a user's own would be."""
    with executor._process_settings():
        context = ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=executor.OBJECT_STORE_BYTES,
        )
    yield context.address_info["gcs_address"]
    ray.shutdown()


class KillingExecutor(executor.RayExecutor):
    """Kills the worker of the second task when it is done, before its result is on its way."""

    def __init__(self, folder: Path, times: int = 1) -> None:
        super().__init__(DeviceMap.parse("cpu", 2))
        self.folder, self.times = folder, times
        folder.mkdir()

    @property
    def kills(self) -> int:
        return len(list(self.folder.iterdir()))

    def map(self, function, shared, tasks):
        folder, times, second = self.folder, self.times, tasks[1]

        def run(shared, task):
            result = function(shared, task)
            kills = len(list(folder.iterdir()))
            if task == second and kills < times:
                (folder / str(kills)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        yield from super().map(run, shared, tasks)


def read_files(folder: Path, pattern: str) -> dict[str, bytes]:
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob(pattern))}
    assert files
    return files


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_it_follows_the_contract(cluster, check):
    check(Runtime(workers=1, executor="ray"))


def test_finished_tasks_survive_an_error(cluster, tmp_path):
    contract.check_resumes(Runtime(workers=1, executor="ray"), tmp_path)


@pytest.mark.parametrize("check", OF_WORKERS, ids=lambda check: check.__name__)
def test_it_follows_the_contract_of_workers(cluster, check, tmp_path):
    check(Runtime(workers=2, executor="ray"), tmp_path)


def test_more_workers_than_cpus_do_not_block_tasks(cluster):
    results = Runtime(workers=3, executor="ray").map(add_shift, {"shift": 1}, range(4))
    assert sorted(results) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_a_task_that_kills_every_worker_is_given_up(cluster, tmp_path):
    killing = KillingExecutor(tmp_path / "kills", times=99)
    with pytest.raises(CreditlineError, match="A task killed its worker again and again"):
        list(Runtime(executor=killing).map(add_shift, {"shift": 1}, [1, 2]))
    assert killing.kills == executor.ATTEMPTS


def test_an_index_is_that_of_one_process_although_a_worker_was_killed(
    cluster, tiny_model, tiny_images, tmp_path
):
    def build(name, runtime):
        settings = {"method": "trak", "timesteps": 2, "dim": 32, "shard_rows": 3}
        return cl.index(tiny_model, tiny_images, out=tmp_path / name, runtime=runtime, **settings)

    killing = KillingExecutor(tmp_path / "kills")
    local, on_ray = build("local", Runtime()), build("ray", Runtime(executor=killing))
    assert killing.kills == 1
    assert local.digest() == on_ray.digest()
    queries = tiny_images.subset([1, 2])
    assert local.scores(queries).tobytes() == on_ray.scores(queries).tobytes()


@pytest.mark.long
def test_retrained_models_are_those_of_one_process_although_a_worker_was_killed(
    cluster, tiny_images, tmp_path
):
    network = UNetConfig(resolution=8, channels=(4, 8), layers=1, attention=(), groups=4)
    config = TrainConfig(unet=network, steps=2, batch_size=4)
    settings = RetrainingConfig(
        losses=LossPlan(loss_timesteps=2, loss_draws=1), seeds=1, keep_models=True
    )
    masks = np.arange(12) % 3 != np.arange(3)[:, None]
    queries = {"queries": tiny_images.subset([0, 1])}

    def train_all(name, runtime):
        return retrain(
            *(tiny_images, queries, tmp_path / name),
            config=config,
            settings=settings,
            masks=masks,
            runtime=runtime,
        )

    killing = KillingExecutor(tmp_path / "kills")
    local = train_all("local", Runtime())
    on_ray = train_all("ray", Runtime(executor=killing))
    assert killing.kills == 1
    assert local.digest() == on_ray.digest()
    weights = "models/*/model/**/*.safetensors"
    assert len(read_files(tmp_path / "local", weights)) == 3
    assert read_files(tmp_path / "local", weights) == read_files(tmp_path / "ray", weights)


@pytest.mark.long
def test_generated_images_are_those_of_one_process_although_a_worker_was_killed(
    cluster, tiny_model, tmp_path
):
    config, killing = GenerateConfig(steps=2, trajectory=True), KillingExecutor(tmp_path / "kills")
    for name, runtime in (("local", Runtime()), ("ray", Runtime(executor=killing))):
        cl.generate(tiny_model, 6, tmp_path / name, config, batch_size=2, runtime=runtime)
    assert killing.kills == 1
    for pattern in ("*.png", "trajectories/*"):
        assert read_files(tmp_path / "local", pattern) == read_files(tmp_path / "ray", pattern)


def test_another_cluster_than_the_joined_one_is_refused(cluster):
    def run(address):
        return list(Runtime(executor="ray", ray_address=address).map(add_shift, {"shift": 1}, [1]))

    assert run(cluster) == [(1, 2)]
    with pytest.raises(SettingsError, match="has joined the Ray cluster at"):
        run("192.0.2.1:6379")
    assert ray.is_initialized()  # what was joined stays joined


def test_a_cluster_that_does_not_answer_is_a_clear_error(cluster):
    with pytest.raises(CreditlineError, match="No Ray cluster answers at localhost:9"):
        executor._require_reachable("localhost:9")


def test_devices_are_rays_to_assign():
    with pytest.raises(SettingsError, match="Ray assigns GPUs to workers itself; got cuda:0, cuda"):
        Runtime(device="cuda:0,cuda:1", executor="ray")


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(executor, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'creditline\[ray\]'"):
        Runtime(workers=2, executor="ray")


PROGRAM = """
import os, signal
from creditline.runtime import Runtime
before = dict(os.environ), signal.getsignal(signal.SIGTERM)
print(sorted(Runtime(workers=2, executor="ray").map(pow, 2, range(4))))
import ray
print(ray.is_initialized(), before == (dict(os.environ), signal.getsignal(signal.SIGTERM)))
"""


def test_a_cluster_of_its_own_ends_with_the_job():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["[(0, 1), (1, 2), (2, 4), (3, 8)]", "False True"]
