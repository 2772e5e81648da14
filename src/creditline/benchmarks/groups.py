"""Groups of methods that share an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GROUPS = (
    ("d-trak",),
    (
        *("trak", "relative-if", "renormalized-if"),
        *("gradient-dot", "gradient-cosine", "gradient-centered"),
    ),
    ("tracin", "gas"),
)
CHECKPOINTED = "tracin"
TRAJECTORY = {"trak": ("journey-trak",)}
ENSEMBLED = ("d-trak", "trak")


@dataclass(frozen=True)
class MethodGroup:
    """Methods that share an index.

    Attributes:
        methods: names; the first one names the index.
        timesteps: per training image.
        models: number of models trained on all training images.
        checkpoints: whether checkpoints of one training are indexed instead of the final model.
        trajectory_methods: methods on the same index whose queries are sampling runs.
    """

    methods: tuple[str, ...]
    timesteps: int
    models: int = 1
    checkpoints: bool = False
    trajectory_methods: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Name of the group's index folder."""
        return f"{self.methods[0]}-{self.timesteps}-{2 if self.checkpoints else self.models}"

    def __str__(self) -> str:
        models = f", {self.models} models" if self.models > 1 else ""
        return f"{self.methods[0]} at {self.timesteps} timesteps{models}"


def method_groups(timesteps: Sequence[int], ensemble: int = 1) -> list[MethodGroup]:
    """Every group at every number of timesteps; then those of an ensemble of models."""
    groups = []
    for t in timesteps:
        for names in GROUPS:
            first = names[0]
            along = TRAJECTORY.get(first, ())
            groups.append(MethodGroup(names, t, 1, first == CHECKPOINTED, along))
        if ensemble > 1:
            groups += [MethodGroup((name,), t, ensemble) for name in ENSEMBLED]
    return groups
