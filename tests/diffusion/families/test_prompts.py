"""Images from prompts: guidance, what is recorded of it, and how a trace reads it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import FlowMatchEulerDiscreteScheduler

import creditline as cl
from creditline.cli import main
from creditline.diffusion.config import GenerateConfig
from creditline.diffusion.generation import generate, read_record
from creditline.diffusion.guidance import GuidedDenoiser
from creditline.diffusion.sampling import sample
from creditline.errors import DataError, SettingsError
from creditline.report import page

SMALL = {"timesteps": 2, "dim": 32, "query_draws": 1}
RUN = GenerateConfig(steps=2, guidance=3.0, negative_prompt="blue", trajectory=True)


@pytest.fixture(scope="module")
def model(folder):
    return cl.load_model(folder("sd")[0])


@pytest.fixture(scope="module")
def generated_images(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("images") / "out"
    return generate(model, 3, out, RUN, prompts=["a cat", "two boats"])


@pytest.fixture(scope="module")
def index(model, captioned, tmp_path_factory):
    return cl.index(model, captioned, out=tmp_path_factory.mktemp("index") / "out", **SMALL)


@torch.no_grad()
def test_guidance_leads_away_from_the_other_prediction(model):
    x, t = torch.ones(1, 4, 8, 8), torch.tensor([400])
    toward = model.predict(x, t, model.encode_conditions(["a cat"]))
    empty, blue = (model.predict(x, t, model.encode_conditions([text])) for text in ("", "blue"))
    guided = GuidedDenoiser(model, ["a cat"], 3.0).predict(x, t)
    torch.testing.assert_close(guided, empty + 3 * (toward - empty))
    led = GuidedDenoiser(model, ["a cat"], 3.0, "blue").predict(x, t)
    torch.testing.assert_close(led, blue + 3 * (toward - blue))
    assert torch.equal(GuidedDenoiser(model, ["a cat"], 1.0).predict(x, t), toward)
    assert GuidedDenoiser(model, ["a cat"]).guidance == 7.5


@torch.no_grad()
def test_what_a_network_embeds_of_guidance_differs_between_sampling_and_features(load, captioned):
    model = load("flux", embedded_guidance=1.0)
    assert model.encode(captioned, [0]).condition["guidance"].tolist() == [1.0]
    assert GuidedDenoiser(model, ["a cat"], 5.0).condition["guidance"].tolist() == [5.0]
    with pytest.raises(SettingsError, match="negative prompt needs"):
        GuidedDenoiser(model, ["a cat"], 5.0, "blue")


def test_models_that_cannot_be_guided_say_so(load, tiny_model):
    for unguided in (load("ldm"), tiny_model):
        with pytest.raises(SettingsError, match="no unconditional input"):
            GuidedDenoiser(unguided, [None], 2.0)
    with pytest.raises(SettingsError, match="a model that takes prompts"):
        GuidedDenoiser(load("dit"), [0], 2.0, "blue")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd-v", "dit", "sd3", "sana"])
def test_images_are_those_of_the_pipeline(load, name):
    model, seeds = load(name), [3, 4]
    pipe = model.pipeline
    pipe.set_progress_bar_config(disable=True)
    inputs = {"class_labels": [0, 2]} if name == "dit" else {"prompt": ["a cat", "two boats"]}
    if name == "dit":  # whose pipeline takes no generators of single images, nor other null rows
        guidance, mine = 1.0, {"labels": [0, 2]}
    else:
        guidance, mine = 4.0, {"prompts": inputs["prompt"]}
    if name != "dit":
        inputs |= {"height": 16, "width": 16}
    if name == "sana":  # with the same sampler; its pipeline takes no smaller images
        model, pipe = load(name, side=32), load(name, side=32).pipeline
        pipe.set_progress_bar_config(disable=True)
        inputs |= {"height": 32, "width": 32}
        pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        inputs |= {"use_resolution_binning": False, "clean_caption": False}
        inputs |= {"max_sequence_length": 12}
    theirs = pipe(
        **inputs,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        guidance_scale=guidance,
        num_inference_steps=4,
        output_type="np",
    ).images
    ours, _ = sample(model, seeds, steps=4, guidance=guidance, **mine)
    # The flow's levels are moved to the nearest of the training, by 0.001 at most.
    allowed = 0.05 if name in ("sd3", "sana") else 0.006
    assert np.abs(ours / 255 - theirs).max() < allowed


def test_the_record_says_how_each_image_was_made(generated_images):
    record = read_record(generated_images)
    assert [record.details(f"0000{i}.png")["prompt"] for i in range(3)] == [
        "a cat",
        "two boats",
        "a cat",
    ]
    details = record.details("00001.png")
    assert details["guidance"] == 3.0
    assert details["negative_prompt"] == "blue"
    assert details["seed"] == 1


@pytest.mark.slow
def test_a_trace_reads_the_prompt_that_was_recorded(index, generated_images):
    outcome = index.trace(generated_images, top=2)
    assert [query.text for query in outcome] == ["a cat", "two boats", "a cat"]
    explicit = index.trace(generated_images, top=2, prompts=["a cat", "two boats", "a cat"])
    for mine, other in zip(outcome, explicit, strict=True):
        assert [h.score for h in mine.proponents] == [h.score for h in other.proponents]
    changed = index.trace(generated_images / "00000.png", top=2, prompts="a red house")
    assert changed[0].text == "a red house"
    assert changed[0].proponents[0].score != outcome[0].proponents[0].score
    html = page.render(outcome)
    assert "two boats" in html


def test_images_without_a_prompt_are_refused(index, captioned):
    generated_images = list(captioned.array()[:2])
    with pytest.raises(DataError, match="2 of 2 images have none"):
        index.trace(generated_images)
    with pytest.raises(DataError, match="2 query images need one prompt, or 2; got 3"):
        index.trace(generated_images, prompts=["a", "b", "c"])
    with pytest.raises(DataError, match="tokens"):
        index.trace(generated_images, prompts="house" * 9)
    assert len(index.trace(generated_images, prompts="a cat")) == 2


@pytest.mark.slow
def test_a_sampling_run_in_latents_is_traced(model, captioned, generated_images, tmp_path):
    index = cl.index(model, captioned, method="trak", out=tmp_path / "index", **SMALL)
    outcome = index.trace(generated_images, method="journey-trak", top=1)
    assert len(outcome) == 3
    assert all(query.proponents for query in outcome)


@pytest.mark.slow
def test_the_command_line(folder, captioned, tmp_path):
    pipeline, adapter = map(str, folder("flux"))
    data, out, index = (str(tmp_path / name) for name in ("data", "images", "index"))
    captioned.save(data)
    encoding = ["--side", "16", "--prompt-tokens", "12", "--lora", f"mine={adapter}"]

    def run(*arguments):
        result = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    run("generate", pipeline, "-n", 2, "--steps", 2, "--prompt", "a cat", "--out", out, *encoding)
    small = ["--timesteps", 2, "--dim", 32, "--workers", 1]
    run("index", pipeline, data, "--out", index, *encoding, *small)
    report = tmp_path / "trace.json"
    run("trace", index, out, "--json", report)
    assert [query["text"] for query in json.loads(report.read_text())["queries"]] == ["a cat"] * 2
    shown_output = run("trace", index, f"{data}/{captioned.names[0]}", "--prompt", "a red cat")
    assert captioned.names[0] in shown_output
