"""Groups of methods that share an index, from what the methods declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from creditline import methods
from creditline.fingerprint import of_json
from creditline.methods.attributor import Attributor
from creditline.settings import flatten, override


@dataclass(frozen=True)
class MethodGroup:
    """Methods that share an index.

    Attributes:
        index_method: method that the index is built for.
        methods: methods to judge on the index.
        trajectory_methods: methods to judge on the index whose queries are sampling runs.
        timesteps: timesteps per training image; None where the index does not depend on them.
        models: number of models trained on all training images.
    """

    index_method: Attributor
    methods: tuple[Attributor, ...]
    trajectory_methods: tuple[Attributor, ...] = ()
    timesteps: int | None = None
    models: int = 1

    @property
    def checkpoints(self) -> bool:
        """Whether checkpoints of one training run are indexed instead of the final model."""
        return self.index_method.capabilities.models == "checkpoints"

    @property
    def key(self) -> str:
        """Name of the group among the files of a benchmark."""
        parts = [self.index_method.name]
        if self.timesteps is not None:
            parts += [str(self.timesteps), "checkpoints" if self.checkpoints else str(self.models)]
        return "-".join(parts)

    def __str__(self) -> str:
        timesteps = "" if self.timesteps is None else f" at {self.timesteps} timesteps"
        models = f", {self.models} models" if self.models > 1 else ""
        return f"{self.index_method.name}{timesteps}{models}"


def judgeable_methods() -> list[Attributor]:
    """Every registered method that a benchmark can judge without further input."""
    registered = (cls() for cls in methods.classes().values())
    return [method for method in registered if _is_judgeable(method)]


def method_groups(
    selected: Sequence[Attributor], timesteps: Sequence[int], ensemble: int = 1
) -> list[MethodGroup]:
    """Group methods by the index that they share.

    An index is named after one of all registered methods that share it, so that a later selection
    finds it again.

    Args:
        selected: methods to judge.
        timesteps: numbers of timesteps per training image, each with indexes of its own.
        ensemble: number of models of which gradient methods are judged as well.

    Returns:
        Groups by timesteps, then those whose index does not depend on them.
    """
    names = {method.name for method in selected}
    known = {method.name: method for method in (*judgeable_methods(), *selected)}
    groups: list[MethodGroup] = []
    for t in timesteps:
        members = [override(m, {"timesteps": t}) for m in known.values() if _has_timesteps(m)]
        single = _grouped(members, names, t)
        groups += single
        if ensemble > 1:
            groups += [
                replace(group, models=ensemble, trajectory_methods=())
                for group in single
                if group.methods and not group.checkpoints
            ]
    others = [method for method in known.values() if not _has_timesteps(method)]
    return groups + _grouped(others, names)


def _grouped(
    members: Sequence[Attributor], names: set[str], timesteps: int | None = None
) -> list[MethodGroup]:
    by_index: dict[str, list[Attributor]] = {}
    for method in members:
        by_index.setdefault(_index_key(method, members), []).append(method)
    groups = []
    for sharing in by_index.values():
        able = [m for m in sharing if m.capabilities.kind != "subset"]
        lead = next((m for m in able if m.capabilities.damped), (able or sharing)[0])
        ordered = sorted(sharing, key=lambda m: not m.capabilities.damped)
        selected = [m for m in ordered if m.name in names]
        trajectory = tuple(m for m in selected if m.capabilities.needs_trajectory)
        plain = tuple(m for m in selected if not m.capabilities.needs_trajectory)
        if selected:
            groups.append(MethodGroup(lead, plain, trajectory, timesteps))
    return groups


def _index_key(method: Attributor, members: Sequence[Attributor]) -> str:
    """Methods with the same key share an index."""
    if method.capabilities.kind == "subset":  # judged on held-out subsets, so any images will do
        method = next((m for m in members if m.capabilities.features == "pixels"), method)
    return of_json([method.index_settings(), method.capabilities.models])


def _has_timesteps(method: Attributor) -> bool:
    return method.capabilities.features == "gradients" and "timesteps" in flatten(method)


def _is_judgeable(method: Attributor) -> bool:
    has = method.capabilities
    needs_encoder = has.features == "encoder" and not flatten(method).get("encoder")
    return has.held_out and not needs_encoder
