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

SKETCH = ("dim", "projection_seed", "layout", "budget", "learn_from")
"""Settings of a projection to fewer dimensions."""
RANKED = (*SKETCH, "rank")
"""Settings of one that projects both sides of a weight first."""
OWN_SETTINGS = {
    "two-sided": RANKED,
    "principal": RANKED,
    "count-sketch": SKETCH,
    "gaussian": SKETCH,
    "rademacher": SKETCH,
    "none": (),
}
"""`Projector.settings` of built-in projections, whose classes need torch."""


def settings_of(name: str) -> tuple[str, ...]:
    """Return the names of the settings that a projection uses.

    Raises:
        SettingsError: if there is no such projection.
    """
    if name in OWN_SETTINGS:
        return OWN_SETTINGS[name]
    own: tuple[str, ...] = PROJECTORS.load(name).settings
    return own
