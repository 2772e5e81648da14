"""What is checked of every class of models, on small instances of random weights.

Each is saved and loaded as a folder, tuned for some steps, sampled from, its gradients are compared
with autograd's, and it is indexed, traced and examined by the doctor.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tests.tiny_pipelines import ENCODING, TINY, Size, make, peft_folder, pictures, plain_config

import creditline as cl
from creditline.diffusion.adapters import adapter_parameters
from creditline.diffusion.config import GenerateConfig, TrainConfig
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.generation import generate
from creditline.diffusion.train import train
from creditline.diffusion.tuning.config import AdapterConfig, TuneConfig
from creditline.doctor import diagnose
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import Layer, select_layers
from creditline.runtime.determinism import exact_kernels


@dataclass(frozen=True)
class Case:
    """A row's model.

    Attributes:
        title: its class.
        maker: its pipeline's name in `tests.tiny_pipelines`.
        bare: the part that is given without its pipeline, and a scheduler; None: all of it.
        reads: whether a bare part needs the pipeline's text encoders.
    """

    title: str
    maker: str
    bare: str | None = None
    reads: bool = False

    def load(
        self, folder: Path, lora: bool, size: Size = TINY, rank: int = 2, device: str = "cpu"
    ) -> Denoiser:
        """The model as it comes from disk.

        Args:
            folder: where its files are, or will be written.
            lora: with an adapter of attention's projections.
            size: of its networks.
            rank: of the adapter.
            device: where it is put.
        """
        place, adapter = folder / "pipeline", folder / "adapter"
        if not place.exists():
            pipeline = make(self.maker, size)
            pipeline.save_pretrained(place)
            peft_folder(pipeline, adapter, rank)
        encoding = dict(ENCODING.get(self.maker, {}))
        if "side" in encoding:
            encoding["side"] = 2 * size.side
        chosen: dict[str, Any] = {"lora": adapter if lora else None, "encoding": encoding}
        chosen["device"] = device
        if self.bare is None:
            return cl.load_model(place, **chosen)
        parts = {"scheduler": place / "scheduler", "pipeline": place if self.reads else None}
        return cl.load_model(place / self.bare, **parts, **chosen)


CASES = (
    Case("StableDiffusionPipeline, ε", "sd"),
    Case("StableDiffusionPipeline, v", "sd-v"),
    Case("StableDiffusionXLPipeline", "sdxl"),
    Case("DiTPipeline", "dit"),
    Case("PixArtAlphaPipeline", "pixart-alpha"),
    Case("PixArtSigmaPipeline", "pixart-sigma"),
    Case("StableDiffusion3Pipeline", "sd3"),
    Case("FluxPipeline", "flux"),
    Case("LDMPipeline", "ldm"),
    Case("DDPMPipeline", "ddpm"),
    Case("DDIMPipeline", "ddim"),
    Case("UNet2DModel, bare", "ddpm", "unet"),
    Case("SD3Transformer2DModel, bare", "sd3", "transformer", reads=True),
)


@dataclass(frozen=True)
class ModelCheck:
    """What was found of a model.

    Attributes:
        parameters: that were differentiated.
        trains: losses of some steps are finite, the weights change that should and no others, and
            what was saved loads.
        generates: pictures of its size.
        error: largest relative difference of a gradient from autograd's.
        traces: a training picture with its noise of the index finds itself, with cosine 1.
        doctor: no check fails.
    """

    parameters: int
    trains: bool
    generates: bool
    error: float
    traces: bool
    doctor: bool


def examine(case: Case, lora: bool, folder: Path, device: str = "cpu") -> ModelCheck:
    """Everything but the cost.

    Args:
        case: the model.
        lora: with an adapter.
        folder: for the model's files and those made here.
        device: where everything is done.
    """
    model, out = case.load(folder, lora, device=device), folder / ("lora" if lora else "full")
    return ModelCheck(
        sum(layer.size for layer in select_layers(model.module, "trained")),
        trains(case.load(folder, lora=False, device=device), lora, out / "run"),
        generates(model, out / "pictures"),
        gradient_error(model),
        traces(model, out / "index"),
        not diagnose(model, pictures(), timesteps=2, dim=64, samples=2).failed,
    )


def trains(base: Denoiser, lora: bool, out: Path) -> bool:
    """Whether a tuning of three steps does what it should, and leaves the rest alone."""
    before, steps = _weights(base), {"steps": 3, "batch_size": 2, "learning_rate": 1e-2}
    config: TuneConfig | TrainConfig = TuneConfig(
        AdapterConfig(lora_rank=2 if lora else None), **steps
    )
    if base.trains_from_scratch and not lora:
        config = TrainConfig(plain_config(TINY, 2 * TINY.side), **steps)
    run = train(pictures(), out, config, base=base, runtime=cl.Runtime(device=str(base.device)))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    tuned = cl.load_model(run)
    after = _weights(tuned)
    same = [torch.equal(after[name], value) for name, value in before.items()]
    finite = bool(lines) and all(math.isfinite(line["loss"]) for line in lines)
    untouched = all(torch.equal(v, before[name]) for name, v in _weights(base).items())
    if not (finite and untouched and _encoders(base) == _encoders(tuned)):
        return False
    if not lora:
        still = {name for name, alike in zip(before, same, strict=True) if alike}
        return set(after) == set(before) and still <= idle(base)
    added = adapter_parameters(tuned.module)
    return all(same) and set(after) == set(before) | added and any(after[n].any() for n in added)


def idle(model: Denoiser) -> set[str]:
    """Parameters that no loss depends on: the last joint block's, say, that only text meets."""
    named = model.module.named_parameters()
    layers = [Layer(name, (name,), (tuple(value.shape),)) for name, value in named]
    probes = expand(model, model.encode(pictures(), [0, 1]), NoisePlan(timesteps=2), "train")
    found = AutogradEngine(model, layers, Objective("simple")).gradients(probes)
    return {layer.name for layer, gradient in zip(layers, found, strict=True) if not gradient.any()}


def generates(model: Denoiser, out: Path) -> bool:
    """Whether two steps of sampling end in pictures of the model's size that differ."""
    prompts = ["a red cat"] if model.takes_prompts else None
    generate(model, 2, out, GenerateConfig(steps=2), prompts=prompts)
    made = cl.load_images(out)
    return made.pixels([0, 1]).shape[1:] == model.image_shape and made.ids[0] != made.ids[1]


def gradient_error(model: Denoiser) -> float:
    """Of two pictures and both squares, in the halves of their noise, the largest error."""
    layers = select_layers(model.module, "trained")
    plan = NoisePlan(timesteps=3, draws=2, include_zero=False)
    probes = expand(model, model.encode(pictures(), [0, 1]), plan, "train")
    errors = []
    with exact_kernels(model.device):
        for objective in (Objective("simple"), Objective("square-norm", space="epsilon")):
            both = [kind(model, layers, objective) for kind in (HookEngine, AutogradEngine)]
            found = [engine.gradients(probes, "halves") for engine in both]
            mine, exact = (torch.cat(gradient, -1).double() for gradient in found)
            errors.append(float(((mine - exact).norm(dim=-1) / exact.norm(dim=-1)).max()))
    return max(errors)


def traces(model: Denoiser, out: Path) -> bool:
    """Whether a training picture is its own first proponent when the index's noise is its own.

    What was cached for the index is then what is encoded for a query, and the model that is loaded
    for it the one that was indexed, adapter and all.
    """
    images = pictures()
    plan = {"timesteps": 2, "draws": 2, "query_draws": 2, "shared_noise": True, "dim": 128}
    cl.index(model, images, method="gradient-cosine", out=out, **plan)
    opened = cl.open_index(out, runtime=cl.Runtime(device=str(model.device)))
    (found,) = opened.trace(images.subset([1]), top=6)
    first, second = found.proponents[:2]
    itself = first.name == images.names[1] and abs(first.score - 1) < 1e-3
    return itself and second.score < first.score and found.text == images.texts[1]


def _weights(model: Denoiser) -> dict[str, torch.Tensor]:
    """Copies of the parameters by their names without an adapter around them."""
    named = model.module.named_parameters()
    return {name.replace(".base_layer", ""): value.detach().cpu().clone() for name, value in named}


def _encoders(model: Denoiser) -> dict[str, str]:
    return model.encoders()
