"""The doctor: checks of a model and its images, and the cost of an index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from creditline import methods
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.load import load_model
from creditline.doctor.cost import (
    add_residuals,
    check_disk,
    check_workers,
    measure,
    with_few_draws,
)
from creditline.doctor.data import check_images
from creditline.doctor.disk import number_bytes, table_schema
from creditline.doctor.findings import Cost, Diagnosis, Finding
from creditline.doctor.gradients import check_gradients
from creditline.doctor.network import check_calls, check_curvature, check_network
from creditline.doctor.subject import DiagnosisSubject, preserve_state, random_images
from creditline.errors import ModelError, NumericsError, SettingsError
from creditline.explain import explained
from creditline.features.gradients import GradientExtractor
from creditline.features.residuals import ResidualExtractor
from creditline.gradients.preconditioning import Preconditioning
from creditline.methods.attributor import Attributor
from creditline.runtime import Runtime
from creditline.runtime.determinism import exact_kernels
from creditline.settings import override, require

__all__ = ["Cost", "Diagnosis", "Finding", "diagnose"]

CURVATURE_FIT = "curvature fit"
DEFAULT_IMAGES = 10_000


@explained
def diagnose(
    model: Any,
    images: Any = None,
    *,
    method: str | Attributor = methods.DEFAULT,
    samples: int = 4,
    n: int | None = None,
    out: str | Path = ".",
    runtime: Runtime | None = None,
    **settings: Any,
) -> Diagnosis:
    """Examine a model and its images before a long index.

    The model is left as it was. A copy in float64 is made: it takes twice the memory of float32.

    Args:
        model: what `load_model` takes. A `Denoiser` is examined in the mode and precision it has.
        images: what `load_images` takes; random images of the model's shape by default.
        method: a gradient method, by name or as an instance.
        samples: number of images to examine.
        n: number of images to estimate the cost for; all given images, or 10,000.
        out: where the index would be written, to compare with the free disk.
        runtime: the device of a model given as a path, and the workers that an index would have.
        settings: any setting of the method by name, as in `creditline.index`.

    Returns:
        Findings in order, and the cost unless gradients could not be computed.

    Raises:
        SettingsError: if the method takes no gradients, or a count is below 1.
        DataError: if the images cannot be loaded.
        ModelError: if the model cannot.
    """
    runtime = runtime or Runtime()
    for name, value in (("samples", samples), ("n", 1 if n is None else n)):
        require(value >= 1, f"{name} must be at least 1", value, "Try 4.")
    recipe = methods.get(method)() if isinstance(method, str) else method
    if recipe.capabilities.features != "gradients":
        raise SettingsError(
            f"The doctor examines gradients and {recipe.title} takes none. Use a gradient method, "
            f"such as {methods.DEFAULT}."
        )
    recipe = override(recipe, settings)
    denoiser = load_model(model, device=runtime.main_device)
    first, *rest = recipe.feature_terms().values()  # type: ignore[attr-defined]
    source = _make_source(first, denoiser)
    findings: list[Finding] = []
    loaded = None
    if images is not None:
        loaded = load_images(images, runtime=runtime)
        findings += check_images(denoiser, loaded)
    fits = loaded is not None and findings[0].status == "ok"
    examined = _spread(loaded, samples) if loaded and fits else random_images(denoiser, samples)
    findings += check_network(denoiser.module, source.layers)
    preconditioning = source.spec.preconditioning
    if preconditioning.is_active:
        kind = preconditioning.preconditioner
        findings.append(check_curvature(denoiser.module, source.layers, kind))
    with (
        preserve_state(denoiser.module),
        exact_kernels(denoiser.device, source.spec.precision == "tf32"),
    ):
        problem = _fit(source, examined, runtime)
        findings += [] if problem is None else [problem]
        if problem is not None:  # the rest is examined without the curvature
            source = _make_source(_without_curvature(first), denoiser)
        subject = DiagnosisSubject.prepare(denoiser, source, examined)
        findings += [check_calls(subject), *check_gradients(subject)]
        cost = None
        failed = {finding.check for finding in findings if finding.status == "fail"}
        if not failed & {"finite gradients", CURVATURE_FIT}:
            count = n or (len(loaded) if loaded else DEFAULT_IMAGES)
            stock = loaded if fits else None
            about = examined, count, runtime.devices.workers, Path(out), stock
            cost = measure(first, source, *about)
            for term in rest:
                if term.capabilities.features == "residuals":
                    cost = add_residuals(
                        cost, ResidualExtractor([denoiser], term.features), examined
                    )
                    continue
                further = _make_source(term, denoiser)
                further.fit(examined, runtime)
                cost = cost.plus(
                    measure(term, further, *about),
                    table_schema(further).feature_bytes,
                    number_bytes(further, count),
                )
            findings += [*check_workers(cost), check_disk(cost)]
    return Diagnosis(tuple(findings), cost)


def _fit(source: GradientExtractor, images: ImageSet, runtime: Runtime) -> Finding | None:
    """Fit what the features need; returns why that is not possible."""
    try:
        source.fit(images, runtime)
    except NumericsError as error:
        return Finding(CURVATURE_FIT, "fail", str(error), "Use float32 weights.")
    except ModelError as error:
        return Finding(CURVATURE_FIT, "fail", str(error), "Use --method d-trak or trak.")
    return None


def _without_curvature(term: Any) -> Any:
    plain = replace(term.features, preconditioning=Preconditioning())
    return replace(term, features=plain)


def _make_source(term: Any, denoiser: Denoiser) -> GradientExtractor:
    """Make the extractor of one feature set; its curvature is fitted to few evaluations."""
    return GradientExtractor([denoiser], with_few_draws(term.features), term.query_plan)


def _spread(images: ImageSet, samples: int) -> ImageSet:
    """Select a few images spread over a set."""
    rows = np.linspace(0, len(images) - 1, min(samples, len(images))).round().astype(np.int64)
    return images.subset(np.unique(rows))
