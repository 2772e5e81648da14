"""Models are found in every shape they come in, and what cannot be trusted is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet2DModel,
)

from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.load import checkpoints, learning_rate, load_model
from creditline.diffusion.saving import RECORD
from creditline.errors import DamageError, ModelError
from creditline.stored_json import write_json


@pytest.fixture
def bare(tiny_folder, tmp_path):
    """The network's folder alone, without a scheduler anywhere near it."""
    return shutil.copytree(tiny_folder / "unet", tmp_path / "alone" / "bare")


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_pipeline_folder(tiny_folder, tiny_model):
    model = load_model(tiny_folder)
    assert model.fingerprint == tiny_model.fingerprint
    assert model.source == str(tiny_folder)
    assert not model.module.training


def test_a_run_folder_and_its_checkpoints(tiny_folder, tiny_model, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_folder, run / "model")
    for step in (1_000_000, 500):
        shutil.copytree(tiny_folder, run / "checkpoints" / f"step-{step:06d}")
    (run / "checkpoints" / "step-000700").mkdir()  # nothing in it: no checkpoint
    assert load_model(run).fingerprint == tiny_model.fingerprint
    result = checkpoints(run)
    assert [path.name for path in result] == ["step-000500", "step-1000000"]
    assert load_model(result[0]).fingerprint == tiny_model.fingerprint


def test_a_run_without_checkpoints_says_how_to_get_them(tmp_path):
    with pytest.raises(ModelError, match="--checkpoint-every"):
        checkpoints(tmp_path)


def test_the_learning_rate_of_a_checkpoint(tiny_folder, tmp_path):
    assert learning_rate(None) is None
    assert learning_rate(tiny_folder) is None
    write_json(tiny_folder / RECORD, {"step": 500, "learning_rate": 0.002})
    assert learning_rate(tiny_folder) == 0.002


@pytest.mark.parametrize("kind", [DDPMPipeline, DDIMPipeline])
def test_a_pipeline_object(kind, tiny_model):
    pipeline = kind(unet=tiny_model.module, scheduler=DDIMScheduler())
    assert load_model(pipeline).fingerprint == tiny_model.fingerprint


def test_a_network_object_with_its_scheduler(tiny_model):
    unet = tiny_model.module
    assert load_model(unet, scheduler=DDPMScheduler()).fingerprint == tiny_model.fingerprint
    with pytest.raises(ModelError, match="without a scheduler"):
        load_model(unet)


def test_a_denoiser_is_returned_as_it_is(tiny_model):
    assert load_model(tiny_model) is tiny_model


def test_whatever_is_a_denoiser_is_taken(tiny_model):
    class Other(Denoiser):
        """A denoiser of no family."""

        module, process = tiny_model.module, tiny_model.process
        sample_shape = image_shape = (3, 8, 8)
        encode, predict = tiny_model.encode, tiny_model.predict

    other = Other()
    assert load_model(other) is other
    assert other.fingerprint != tiny_model.fingerprint
    with pytest.raises(ModelError, match="object"):
        load_model(object())


def test_checkpoints_are_in_the_order_of_their_steps(tmp_path):
    names = ["step-000500", "step-1000000", "step-999999"]
    for name in [*names, "step-000700", "step-000800.png"]:
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    for name in names:
        (tmp_path / "checkpoints" / name / "model_index.json").write_text("{}")
    assert [c.name for c in checkpoints(tmp_path)] == [names[0], names[2], names[1]]


def test_a_checkpoint_that_lost_its_config_is_refused(tiny_folder, tmp_path):
    """Otherwise an index of several checkpoints would be one of fewer, without a word."""
    for step in (1, 2):
        shutil.copytree(tiny_folder, tmp_path / "checkpoints" / f"step-{step:06d}")
    (tmp_path / "checkpoints" / "step-000001" / "model_index.json").unlink()
    with pytest.raises(DamageError, match=r"step-000001 is damaged.*model_index\.json"):
        checkpoints(tmp_path)


def test_a_bare_folder_needs_a_scheduler(bare):
    with pytest.raises(ModelError, match=r"without a scheduler.*--scheduler"):
        load_model(bare)


def test_every_way_to_give_the_scheduler(bare, tiny_folder, tiny_model):
    folder = tiny_folder / "scheduler"
    config = json.loads((folder / "scheduler_config.json").read_text())
    ways = (folder, folder / "scheduler_config.json", config, DDPMScheduler())
    for way in ways:
        assert load_model(bare, scheduler=way).fingerprint == tiny_model.fingerprint


def test_a_scheduler_beside_or_inside_a_bare_folder_is_found(bare, tiny_folder, tiny_model):
    shutil.copytree(tiny_folder / "scheduler", bare.parent / "scheduler")
    assert load_model(bare).fingerprint == tiny_model.fingerprint
    shutil.move(bare.parent / "scheduler", bare / "scheduler")
    assert load_model(bare).fingerprint == tiny_model.fingerprint


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_the_prediction_type_comes_from_the_scheduler(bare, prediction):
    model = load_model(bare, scheduler=DDPMScheduler(prediction_type=prediction))
    assert model.process.prediction == prediction


def test_a_given_scheduler_goes_before_the_folders_own(tiny_folder):
    model = load_model(tiny_folder, scheduler={"num_train_timesteps": 50})
    assert model.process.n_timesteps == 50


def test_an_empty_config_is_a_scheduler_too(tiny_folder, bare):
    assert load_model(bare, scheduler={}).process.n_timesteps == 1000


@pytest.mark.parametrize("given_scheduler", [3, object()])
def test_what_is_not_a_scheduler_is_refused(bare, given_scheduler):
    with pytest.raises(ModelError, match="not a scheduler"):
        load_model(bare, scheduler=given_scheduler)


def test_a_missing_scheduler_is_named(bare, tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        load_model(bare, scheduler=tmp_path / "nowhere")


def test_a_flow_model_is_refused(bare):
    with pytest.raises(ModelError, match="has no betas"):
        load_model(bare, scheduler=FlowMatchEulerDiscreteScheduler())


def test_dtype_is_as_asked(tiny_folder):
    model = load_model(tiny_folder, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert load_model(tiny_folder).dtype == torch.float32


def test_pickled_weights_only_when_allowed(tiny_model, tmp_path):
    tiny_model.module.save_pretrained(tmp_path, safe_serialization=False)
    assert list(tmp_path.glob("*.bin"))
    with pytest.raises(ModelError, match="allow_pickle"):
        load_model(tmp_path, scheduler={})
    model = load_model(tmp_path, scheduler={}, allow_pickle=True)
    torch.testing.assert_close(model.module.conv_in.weight, tiny_model.module.conv_in.weight.cpu())


def test_a_folder_that_is_no_model_says_what_was_looked_for(tmp_path):
    with pytest.raises(ModelError, match=r"model_index\.json.*config\.json.*model/"):
        load_model(tmp_path)


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ModelError, match="no-such-model"):
        load_model(tmp_path / "no-such-model")


def test_another_network_class_in_a_pipeline_is_refused(tiny_folder):
    rewrite(tiny_folder / "model_index.json", unet=["diffusers", "UNet3DConditionModel"])
    with pytest.raises(ModelError, match=r"a UNet3DConditionModel; a DDPMPipeline .* UNet2D"):
        load_model(tiny_folder)


def test_another_network_class_in_a_bare_folder(bare):
    rewrite(bare / "config.json", _class_name="UNet1DModel")
    with pytest.raises(ModelError, match=r"UNet1DModel.*supported: UNet2DModel"):
        load_model(bare)


def test_an_object_of_another_class_is_refused():
    with pytest.raises(ModelError, match="Linear"):
        load_model(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["model_index.json", "scheduler/scheduler_config.json"])
def test_damaged_json_is_named(tiny_folder, name):
    (tiny_folder / name).write_text("{ not json")
    with pytest.raises(ModelError, match=name.split("/")[-1]):
        load_model(tiny_folder)


def test_truncated_weights_are_a_clear_error(tiny_folder):
    (weights,) = (tiny_folder / "unet").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(tiny_folder)


def test_weights_of_another_network_are_not_filled_with_noise(tiny_folder):
    from safetensors.torch import load_file, save_file

    (path,) = (tiny_folder / "unet").glob("*.safetensors")
    weights = load_file(path)
    del weights["conv_out.bias"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"conv_out\.bias"):
        load_model(tiny_folder)


def test_weights_of_another_shape_are_refused(tiny_folder):
    rewrite(tiny_folder / "unet" / "config.json", block_out_channels=[8, 32])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(tiny_folder)


def test_a_device_that_is_not_there_is_a_model_error(tiny_folder):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ModelError, match="cuda"):
        load_model(tiny_folder, device="cuda")
    with pytest.raises(ModelError, match="gpu"):
        load_model(tiny_folder, device="gpu")


def test_a_class_conditional_pipeline_keeps_its_classes(tmp_path):
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        num_class_embeds=4,
    )
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(tmp_path)
    assert load_model(tmp_path).n_classes == 4
