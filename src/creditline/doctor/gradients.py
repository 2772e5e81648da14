"""Checks of gradients: finite, repeatable, equal to autograd, independent of their batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from creditline.diffusion.precision import Precision
from creditline.doctor.findings import Finding, some
from creditline.doctor.subject import DiagnosisSubject
from creditline.errors import NumericsError
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.noised_batch import join
from creditline.gradients.parameters import enable_gradients

GOOD, TOLERABLE = 1e-4, 1e-2
HALF = 0.05, 0.2
"""The same in half precision, whose numbers have 8 to 11 binary digits."""
DOMINATED = 0.5
"""Share of the squared norms from which a fifth of the timesteps dominates."""


def check_gradients(subject: DiagnosisSubject) -> list[Finding]:
    """Run all checks of gradients; only the first one where values are not finite."""
    finite = check_finite(subject)
    if finite.status == "fail":
        return [finite]
    try:
        return [
            finite,
            check_repeatable(subject),
            check_autograd(subject),
            check_batch_composition(subject),
            check_unused(subject),
            *check_timesteps(subject),
        ]
    except NumericsError as error:
        return [Finding("finite gradients", "fail", str(error), "Use float32 weights.")]


def check_finite(subject: DiagnosisSubject) -> Finding:
    """Check that the objective at every evaluation and all gradients are finite."""
    losses = torch.cat([_values(subject, i).detach().double().cpu() for i in _samples(subject)])
    bad = int((~torch.isfinite(losses)).sum())
    remedy = "See 'finite weights' and 'precision'; check the scheduler's betas."
    if bad:
        text = f"the objective is not finite in {bad} of {len(losses)} evaluations"
        return Finding("finite gradients", "fail", text, remedy)
    try:
        for probe in subject.probes:
            subject.engine.gradients([probe])
    except NumericsError as error:
        return Finding("finite gradients", "fail", str(error), remedy)
    low, high = float(losses.min()), float(losses.max())
    text = f"in {len(losses)} evaluations; objective from {low:.3g} to {high:.3g}"
    return Finding("finite gradients", "ok", text)


def check_repeatable(subject: DiagnosisSubject) -> Finding:
    """Check that the same gradient computed twice is equal."""
    probe = subject.probes[0]
    first, second = (flat(subject.engine.gradients([probe])) for _ in range(2))
    error = relative_error(second, first)
    if error == 0:
        return Finding("repeatable", "ok", "two runs agree to the last bit")
    text = f"two runs differ by {error:.1e}"
    if error <= GOOD:
        return Finding(
            "repeatable",
            "warn",
            f"{text}, as kernels that add in changing order do",
            "An index made again will differ by as much; on a CPU it would not.",
        )
    return Finding(
        "repeatable", "fail", text, "Turn off dropout and other randomness: model.module.eval()."
    )


def check_autograd(subject: DiagnosisSubject) -> Finding:
    """Compare the engine with `.backward()` in float64, one evaluation at a time."""
    errors = [
        relative_error(flat(subject.engine.gradients([probe])), reference_gradient(subject, i))
        for i, probe in enumerate(subject.probes)
    ]
    return _judge(
        "equal to autograd",
        max(errors),
        f"{len(errors)} images against one backward pass per evaluation in float64",
        subject.engine.precision,
        "Evaluations influence each other (batch statistics?) or precision is too low.",
    )


def check_batch_composition(subject: DiagnosisSubject) -> Finding:
    """Check that an image's gradient does not depend on other images of its batch."""
    errors = []
    for i in _samples(subject):
        with enable_gradients(subject.denoiser.module, subject.engine.layers) as layers:
            parameters = [p for layer in layers for p in layer]
            alone = _gradient(_values(subject, i).mean(), parameters)
            values = _values(subject, None).view(len(subject.probes), -1)
            errors.append(relative_error(_gradient(values[i].mean(), parameters), alone))
    return _judge(
        "batch composition",
        max(errors),
        f"gradients of {len(errors)} images alone and in one batch",
        subject.engine.precision,
        "The network mixes the images of a batch (BatchNorm in training mode?). Put it in "
        "evaluation mode or use GroupNorm.",
    )


def check_unused(subject: DiagnosisSubject) -> Finding:
    """Find selected parameters whose gradient is exactly zero for every image."""
    largest: dict[str, float] = {}
    named = dict(subject.denoiser.module.named_parameters())
    for layer, values in zip(
        subject.engine.layers, _plain(subject).gradients(subject.probes), strict=True
    ):
        sizes = [named[name].numel() for name in layer.parameters]
        for name, part in zip(layer.parameters, values.split(sizes, dim=-1), strict=True):
            largest[name] = float(part.abs().max())
    zero = [name for name, value in largest.items() if value == 0]
    if not zero:
        return Finding("unused parameters", "ok", "every selected tensor has a gradient")
    count = sum(named[name].numel() for name in zero)
    return Finding(
        "unused parameters",
        "warn",
        f"{len(zero)} tensors ({count:,} parameters) have gradient zero: {some(zero)}",
        "They use dimensions of the projection and add nothing; exclude them by name pattern "
        "(parameters='*,!name').",
    )


def check_timesteps(subject: DiagnosisSubject) -> list[Finding]:
    """Check that no few timesteps dominate the mean over timesteps."""
    spec = subject.source.spec
    t = spec.plan.timesteps
    if t == 1 or spec.plan.schedule in ("random", "trajectory"):
        return []
    layers = _plain(subject).gradients(subject.probes, "timesteps")
    squares = torch.stack([layer.double().square().sum((0, 2)) for layer in layers]).sum(0)
    steps = subject.probes[0].t[:: spec.plan.draws].tolist()
    high, low = int(squares.argmax()), int(squares.argmin())
    ratio = math.sqrt(float(squares[high] / squares[low])) if squares[low] > 0 else math.inf
    few = max(1, t // 5)
    share = float(squares.topk(few).values.sum() / squares.sum())
    text = (
        f"gradient norm at t={steps[high]} is {ratio:.3g} times that at t={steps[low]}; the "
        f"strongest {few} of {t} timesteps carry {share:.0%} of the squared norms"
    )
    if share > DOMINATED and t > 2 and spec.normalize == "none":
        return [
            Finding(
                "timesteps",
                "warn",
                text,
                "Scores then mostly depend on those timesteps; normalize='timestep' (--normalize "
                "timestep) weights all equally, at one backward pass per timestep.",
            )
        ]
    return [Finding("timesteps", "ok", text)]


def reference_gradient(subject: DiagnosisSubject, i: int) -> Tensor:
    """Compute the gradient before projection directly from its formula, shape `(d,)`."""
    reference, probe, spec = subject.reference, subject.reference_probes[i], subject.source.spec
    module, layers = reference.module, subject.engine.layers
    draws = probe.draws
    total: Tensor | float = 0.0
    with enable_gradients(module, layers) as grouped:
        parameters = [p for layer in grouped for p in layer]
        for start in range(0, len(probe.t), draws):
            for p in parameters:
                p.grad = None
            for u in range(start, start + draws):
                x0, noise, t = probe.x0[u : u + 1], probe.noise[u : u + 1], probe.t[u : u + 1]
                condition = {name: value[u : u + 1] for name, value in probe.condition.items()}
                x_t = reference.process.add_noise(x0, noise, t)
                output = reference.predict(x_t, t, condition)
                spec.objective(reference.process, output, x0, noise, t).sum().backward()
            parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            unit = _selected_entries(subject, parts) / draws
            total += unit / unit.norm() if spec.normalize == "timestep" else unit
        for p in parameters:
            p.grad = None
    return torch.as_tensor(total) * draws / len(probe.t)


def flat(layers: list[Tensor]) -> Tensor:
    """Flatten the one unit of an engine's gradient to a float64 vector on the CPU."""
    return torch.cat([layer[0, 0].double().cpu() for layer in layers])


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Compute the relative difference; 0 for two zeros."""
    difference, scale = float((actual - expected).norm()), float(expected.norm())
    if scale == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / scale


def _judge(check: str, error: float, what: str, precision: Precision, remedy: str) -> Finding:
    text = f"relative error {error:.1e}: {what}"
    good, tolerable = (GOOD, TOLERABLE) if precision == "fp32" else HALF
    if error <= good:
        return Finding(check, "ok", text)
    return Finding(check, "warn" if error <= tolerable else "fail", text, remedy)


def _samples(subject: DiagnosisSubject) -> range:
    return range(len(subject.probes))


def _values(subject: DiagnosisSubject, i: int | None) -> Tensor:
    """Evaluate the objective for image `i`, or for all images in one forward pass."""
    probes = subject.probes if i is None else [subject.probes[i]]
    return subject.engine.values(join(probes))


def _plain(subject: DiagnosisSubject) -> AutogradEngine:
    """Make an engine of explicit gradients without normalization."""
    engine = subject.engine
    return AutogradEngine(engine.denoiser, engine.layers, engine.objective)


def _selected_entries(subject: DiagnosisSubject, gradients: list[Tensor]) -> Tensor:
    """Join the entries of single parameters' gradients that the engine selects."""
    engine = subject.engine
    names = [name for layer in engine.layers for name in layer.parameters]
    pairs = zip(names, gradients, strict=True)
    return torch.cat(
        [engine.project_parameter(name, gradient.flatten()).double() for name, gradient in pairs]
    )


def _gradient(value: Tensor, parameters: list[Tensor]) -> Tensor:
    parts = torch.autograd.grad(value, parameters, materialize_grads=True)
    return torch.cat([part.flatten().double().cpu() for part in parts])
