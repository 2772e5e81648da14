"""Projections by name. Another package registers a `Projector` under `creditline.projections`."""

from __future__ import annotations

from creditline.registry import EntryPointRegistry

PROJECTORS = EntryPointRegistry(
    "projection",
    "creditline.projections",
    {
        "two-sided": "creditline.gradients.projection.two_sided_sketch:TwoSidedSketch",
        "principal": "creditline.gradients.projection.principal_sketch:PrincipalSketch",
        "count-sketch": "creditline.gradients.projection.count_sketch:CountSketch",
        "gaussian": "creditline.gradients.projection.dense:Gaussian",
        "rademacher": "creditline.gradients.projection.dense:Rademacher",
        "none": "creditline.gradients.projection.identity:Identity",
    },
)
