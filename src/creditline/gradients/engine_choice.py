"""Which gradient engine is cheaper for a feature, and engines from settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from creditline.diffusion.denoiser import Denoiser
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.engine import Engine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.parameters import Layer
from creditline.gradients.projection.projector import Projector
from creditline.gradients.projection.two_sided import TwoSidedProjection
from creditline.gradients.spec import FeatureSpec

E = TypeVar("E", bound=Engine)
MANY = 16
"""Evaluations of one gradient that fill a pass of their own well enough on a CPU."""
SMALL = 1 << 22
"""Number of parameters up to which explicit gradients of all images of a pass are cheap to hold."""


def choose_engine(
    spec: FeatureSpec, denoiser: Denoiser, layers: Sequence[Layer], projector: Projector
) -> Engine:
    """Make the engine that `spec` names, or the cheaper one as `tools/bench.py` measured them.

    Hooks are cheaper with a two-sided projection, which spares the gradients of weights. On a CPU,
    autograd is cheaper for explicit gradients, except where passes of one gradient alone would be
    thin and gradients of several images can be held together. On a GPU every pass of one gradient
    is thin. Parameters that hooks leave to autograd are differentiated one gradient at a time, too.

    Args:
        spec: engine, noise plan and normalization.
        denoiser: the model.
        layers: parameters to differentiate.
        projector: what follows the engine.
    """
    two_sided = None if spec.preconditioning.is_active else projector.two_sided
    size = sum(layer.size for layer in layers)
    together = is_streamed(spec, projector) or size <= SMALL
    together = together and _evaluations_per_gradient(spec) < MANY
    together = together or denoiser.device.type != "cpu"
    if spec.engine == "hooks" or (spec.engine == "auto" and (two_sided is not None or together)):
        hooks = make_engine(HookEngine, spec, denoiser, layers, two_sided)
        if spec.engine == "hooks" or two_sided is not None or not hooks.rest:
            return hooks
    return make_engine(AutogradEngine, spec, denoiser, layers, two_sided)


def make_engine(
    kind: type[E],
    spec: FeatureSpec,
    denoiser: Denoiser,
    layers: Sequence[Layer],
    two_sided: TwoSidedProjection | None,
) -> E:
    """Make an engine of one kind; arguments as of `Engine`."""
    settings = spec.objective, spec.normalize, two_sided, spec.batch_size or 1, spec.precision
    return kind(denoiser, layers, *settings)


def is_streamed(spec: FeatureSpec, projector: Projector) -> bool:
    """Whether gradients are projected as they come, instead of being held until complete."""
    needs_complete = spec.normalize != "none" or spec.preconditioning.is_active
    return projector.streams and not needs_complete


def _evaluations_per_gradient(spec: FeatureSpec) -> int:
    """Count the evaluations of each gradient that has to be computed by itself."""
    if spec.normalize == "timestep":
        return spec.plan.draws
    return spec.plan.evaluations // (1 + spec.has_halves)
