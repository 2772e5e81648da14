"""Checks of every class of models, on small instances of random weights.

Each model is saved and loaded, tuned for some steps and sampled from. Its gradients are compared
with those of autograd. It is indexed, traced and examined by the doctor.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tests.tiny_pipelines import (
    ENCODING,
    TINY,
    TITLES,
    Size,
    make,
    peft_folder,
    plain_config,
    random_images,
)

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
    """Model of one row.

    Attributes:
        title: its class.
        maker: its pipeline's name in `tests.tiny_pipelines`.
        bare: part that is loaded with a scheduler instead of the complete pipeline, or None.
        needs_text: whether a bare part needs the pipeline's text encoders.
    """

    title: str
    maker: str
    bare: str | None = None
    needs_text: bool = False

    def load(
        self, folder: Path, lora: bool, size: Size = TINY, rank: int = 2, device: str = "cpu"
    ) -> Denoiser:
        """Load the model from disk.

        Args:
            folder: holds its files, or receives them.
            lora: load an adapter on the projections of attention.
            size: size of its networks.
            rank: rank of the adapter.
            device: device of the model.
        """
        place, adapter = folder / "pipeline", folder / "adapter"
        if not place.exists():
            pipeline = make(self.maker, size)
            pipeline.save_pretrained(place)
            peft_folder(pipeline, adapter, rank)
        encoding = dict(ENCODING.get(self.maker, {}))
        if "side" in encoding:
            encoding["side"] = 2 * size.side
        options: dict[str, Any] = {"lora": adapter if lora else None, "encoding": encoding}
        options["device"] = device
        if self.bare is None:
            return cl.load_model(place, **options)
        parts = {"scheduler": place / "scheduler", "pipeline": place if self.needs_text else None}
        return cl.load_model(place / self.bare, **parts, **options)


CASES = (
    *(Case(title, maker) for maker, title in TITLES.items()),
    Case("UNet2DModel, bare", "ddpm", "unet"),
    Case("SD3Transformer2DModel, bare", "sd3", "transformer", needs_text=True),
)


@dataclass(frozen=True)
class ModelCheck:
    """Results of the checks of a model.

    Attributes:
        parameters: number of differentiated parameters.
        trains: whether losses are finite, the right weights change, and the saved model loads.
        generates: whether generated images have its size and differ.
        error: largest relative difference to a gradient of autograd.
        traces: whether a training image with the noise of the index is its own first proponent,
            with cosine 1.
        doctor: whether no check of the doctor fails.
    """

    parameters: int
    trains: bool
    generates: bool
    error: float
    traces: bool
    doctor: bool


def examine(case: Case, lora: bool, folder: Path, device: str = "cpu") -> ModelCheck:
    """Run all checks, without the cost.

    Args:
        case: the model.
        lora: check the model with an adapter.
        folder: receives all files.
        device: device of the model.
    """
    model, out = case.load(folder, lora, device=device), folder / ("lora" if lora else "full")
    return ModelCheck(
        sum(layer.size for layer in select_layers(model.module, "trained")),
        trains(case.load(folder, lora=False, device=device), lora, out / "run"),
        generates(model, out / "generated"),
        gradient_error(model),
        traces(model, out / "index"),
        not diagnose(model, random_images(), timesteps=2, dim=64, samples=2).failed,
    )


def trains(base: Denoiser, lora: bool, out: Path) -> bool:
    """Check that tuning for three steps changes the right weights and no others."""
    before, steps = _weights(base), {"steps": 3, "batch_size": 2, "learning_rate": 1e-2}
    config: TuneConfig | TrainConfig = TuneConfig(
        AdapterConfig(lora_rank=2 if lora else None), **steps
    )
    if base.trains_from_scratch and not lora:
        config = TrainConfig(plain_config(TINY, 2 * TINY.side), **steps)
    run = train(
        random_images(), out, config, base=base, runtime=cl.Runtime(device=str(base.device))
    )
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    tuned = cl.load_model(run)
    after = _weights(tuned)
    same = [torch.equal(after[name], value) for name, value in before.items()]
    finite = bool(lines) and all(math.isfinite(line["loss"]) for line in lines)
    untouched = all(torch.equal(v, before[name]) for name, v in _weights(base).items())
    if not (finite and untouched and _encoders(base) == _encoders(tuned)):
        return False
    if not lora:
        unchanged = {name for name, equal in zip(before, same, strict=True) if equal}
        return set(after) == set(before) and unchanged <= unused_parameters(base)
    added = adapter_parameters(tuned.module)
    return all(same) and set(after) == set(before) | added and any(after[n].any() for n in added)


def unused_parameters(model: Denoiser) -> set[str]:
    """Find parameters that no loss depends on, such as text layers of the last joint block."""
    named = model.module.named_parameters()
    layers = [Layer(name, (name,), (tuple(value.shape),)) for name, value in named]
    probes = expand(model, model.encode(random_images(), [0, 1]), NoisePlan(timesteps=2), "train")
    computed = AutogradEngine(model, layers, Objective("simple")).gradients(probes)
    return {
        layer.name for layer, gradient in zip(layers, computed, strict=True) if not gradient.any()
    }


def generates(model: Denoiser, out: Path) -> bool:
    """Check that two steps of sampling give two different images of the model's size."""
    prompts = ["a red cat"] if model.takes_prompts else None
    generate(model, 2, out, GenerateConfig(steps=2), prompts=prompts)
    images = cl.load_images(out)
    first, second = images.ids
    return images.pixels([0, 1]).shape[1:] == model.image_shape and first != second


def gradient_error(model: Denoiser) -> float:
    """Compute the largest error over two images, two objectives and both halves."""
    layers = select_layers(model.module, "trained")
    plan = NoisePlan(timesteps=3, draws=2, include_zero=False)
    probes = expand(model, model.encode(random_images(), [0, 1]), plan, "train")
    errors = []
    with exact_kernels(model.device):
        for objective in (Objective("simple"), Objective("square-norm", space="epsilon")):
            both = [kind(model, layers, objective) for kind in (HookEngine, AutogradEngine)]
            results = [engine.gradients(probes, "halves") for engine in both]
            mine, exact = (torch.cat(gradient, -1).double() for gradient in results)
            errors.append(float(((mine - exact).norm(dim=-1) / exact.norm(dim=-1)).max()))
    return max(errors)


def traces(model: Denoiser, out: Path) -> bool:
    """Check that a training image is its own first proponent under the noise of the index.

    The latents and the model of the query are then those of the index, adapter included.
    """
    images = random_images()
    plan = {"timesteps": 2, "draws": 2, "query_draws": 2, "shared_noise": True, "dim": 128}
    cl.index(model, images, method="gradient-cosine", out=out, **plan)
    opened = cl.open_index(out, runtime=cl.Runtime(device=str(model.device)))
    (trace,) = opened.trace(images.subset([1]), top=6)
    first, second = trace.proponents[:2]
    itself = first.name == images.names[1] and abs(first.score - 1) < 1e-3
    return itself and second.score < first.score and trace.text == images.texts[1]


def _weights(model: Denoiser) -> dict[str, torch.Tensor]:
    """Copies of the parameters by their names without an adapter around them."""
    named = model.module.named_parameters()
    return {name.replace(".base_layer", ""): value.detach().cpu().clone() for name, value in named}


def _encoders(model: Denoiser) -> dict[str, str]:
    return model.encoders()
