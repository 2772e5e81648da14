"""Checks of the network before any gradient: mode, precision, parameters, structure."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from creditline.doctor.findings import Finding, some
from creditline.doctor.subject import DiagnosisSubject
from creditline.gradients.parameters import Layer
from creditline.gradients.preconditioning.coverage import CurvatureCoverage
from creditline.units import size

# PyTorch differentiates these attention processors; others have their own kernels.
NATIVE_ATTENTION = ("AttnProcessor", "AttnProcessor2_0", "AttnAddedKVProcessor2_0")


def check_network(module: nn.Module, layers: tuple[Layer, ...]) -> list[Finding]:
    """Run the checks that need no image."""
    return [
        _mode(module),
        _precision(module),
        _weights(module),
        _coverage(module, layers),
        _attention(module),
    ]


def check_calls(subject: DiagnosisSubject) -> Finding:
    """Find modules and tensors that one evaluation uses more than once.

    Autograd adds up all their uses; software that hooks layers often keeps only the last.
    """
    module, probe = subject.denoiser.module, subject.probes[0]
    calls: Counter[str] = Counter()
    hooks = [
        part.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, part in module.named_modules()
        if name and any(True for _ in part.parameters(recurse=False))
    ]
    try:
        with torch.no_grad():
            condition = {name: value[:1] for name, value in probe.condition.items()}
            subject.denoiser.predict(probe.x0[:1], probe.t[:1], condition)
    finally:
        for hook in hooks:
            hook.remove()
    repeated = [f"{name} ({count} times)" for name, count in calls.items() if count > 1]
    shared = _shared(module)
    if not repeated and not shared:
        return Finding("repeated modules", "ok", "no module is called twice, no weights are shared")
    notes = [f"called more than once: {some(repeated)}"] if repeated else []
    notes += [f"shared weights: {some(shared)}"] if shared else []
    return Finding("repeated modules", "ok", f"{'; '.join(notes)}; all uses add up in the gradient")


def _shared(module: nn.Module) -> list[str]:
    first: dict[int, str] = {}
    shared = []
    for name, parameter in module.named_parameters(remove_duplicate=False):
        other = first.setdefault(id(parameter), name)
        if other != name:
            shared.append(f"{name} = {other}")
    return shared


def _mode(module: nn.Module) -> Finding:
    """Find modules in training mode; those that act differently in it are failures."""
    training = [(name, part) for name, part in module.named_modules() if part.training]
    active = [
        f"{name} ({type(part).__name__})" for name, part in training if _depends_on_mode(part)
    ]
    remedy = "Call model.module.eval() first; load_model does."
    if active:
        return Finding(
            "evaluation mode",
            "fail",
            f"{len(active)} modules that act differently in training are in training mode: "
            f"{some(active, 3)}",
            remedy,
        )
    if training:
        text = f"{len(training)} modules are in training mode; none is known to act differently"
        return Finding("evaluation mode", "warn", text, remedy)
    return Finding("evaluation mode", "ok", "dropout is off, statistics are fixed")


def _depends_on_mode(part: nn.Module) -> bool:
    if isinstance(part, nn.modules.dropout._DropoutNd):
        return part.p > 0
    # InstanceNorm derives from the same class but only cares when it keeps statistics.
    return isinstance(part, nn.modules.batchnorm._NormBase) and (
        isinstance(part, nn.modules.batchnorm._BatchNorm) or part.track_running_stats
    )


def _precision(module: nn.Module) -> Finding:
    sizes: Counter[torch.dtype] = Counter()
    for parameter in module.parameters():
        sizes[parameter.dtype] += parameter.numel()
    names = ", ".join(str(dtype).removeprefix("torch.") for dtype, _ in sizes.most_common())
    if set(sizes) & {torch.float16, torch.bfloat16}:
        return Finding(
            "precision",
            "warn",
            f"weights are {names}; gradients in half precision overflow and lose digits",
            "Load the model in float32: load_model(source, dtype=torch.float32).",
        )
    if not all(dtype.is_floating_point for dtype in sizes):
        return Finding(
            "precision",
            "warn",
            f"weights are {names}; integers have no gradient",
            "Load the model without quantization.",
        )
    return Finding("precision", "ok", f"weights are {names}")


def _weights(module: nn.Module) -> Finding:
    named = [*module.named_parameters(), *module.named_buffers()]
    bad = [name for name, value in named if not bool(torch.isfinite(value).all())]
    if bad:
        return Finding(
            "finite weights",
            "fail",
            f"{len(bad)} of {len(named)} tensors hold NaN or infinity: {some(bad)}",
            "Use a checkpoint from before the run diverged, or convert the weights again.",
        )
    return Finding("finite weights", "ok", f"all {len(named)} tensors")


def _coverage(module: nn.Module, layers: tuple[Layer, ...]) -> Finding:
    total = sum(p.numel() for p in module.parameters())
    covered = sum(layer.size for layer in layers)
    selected = {name for layer in layers for name in layer.parameters}
    left = [name for name, _ in module.named_parameters() if name not in selected]
    text = f"{covered:,} of {total:,} parameters ({covered / total:.1%}) in {len(layers)} layers"
    if not left:
        return Finding("coverage", "ok", text)
    return Finding(
        "coverage",
        "warn",
        f"{text}; {len(left)} tensors are left out: {some(left)}",
        "Use parameters='*' (--parameters '*') unless this is intended.",
    )


def check_curvature(module: nn.Module, layers: tuple[Layer, ...], preconditioner: str) -> Finding:
    """Say which parameters the curvature of a preconditioner covers, and what it takes."""
    covered = CurvatureCoverage.of(module, layers, preconditioner)
    text = (
        f"Kronecker factors for {covered.kronecker:,} parameters ({covered.share:.2%}), a diagonal "
        f"for {covered.diagonal:,}"
    )
    if covered.diagonal_layers:
        text += f" in {len(covered.diagonal_layers)} layers: {some(list(covered.diagonal_layers))}"
    return Finding("curvature", "ok", f"{text}; {size(covered.bytes)} of factors")


def _attention(module: nn.Module) -> Finding:
    kinds = Counter(
        type(part.processor).__name__ for part in module.modules() if hasattr(part, "processor")
    )
    native = sum(isinstance(part, nn.MultiheadAttention) for part in module.modules())
    if native:
        kinds["torch.nn.MultiheadAttention"] = native
    if not kinds:
        return Finding("attention", "ok", "none")
    text = ", ".join(f"{count} of {kind}" for kind, count in kinds.items())
    foreign = [k for k in kinds if k not in NATIVE_ATTENTION and not k.startswith("torch.")]
    if foreign:
        return Finding(
            "attention",
            "warn",
            text,
            "This attention may use kernels without an exact or repeatable backward pass; "
            "compare with model.module.set_default_attn_processor().",
        )
    kernels = [name for name, enabled in _kernels() if enabled]
    return Finding("attention", "ok", f"{text}; kernels allowed: {', '.join(kernels)}")


def _kernels() -> list[tuple[str, bool]]:
    cuda = torch.backends.cuda
    return [
        ("flash", cuda.flash_sdp_enabled()),
        ("memory-efficient", cuda.mem_efficient_sdp_enabled()),
        ("math", cuda.math_sdp_enabled()),
    ]
