"""The registry of families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

from creditline.diffusion.families.network import NetworkDenoiser
from creditline.errors import ModelError

GROUP = "creditline.families"
"""Entry points under which other packages register families."""

Family = type[NetworkDenoiser]


class FamilyRegistry:
    """Finds the family of a pipeline or network by its class.

    Families of other packages come first, so that they can replace those of this one.

    Args:
        families: families of this package.
    """

    def __init__(self, *families: Family) -> None:
        self._builtin = families

    @cached_property
    def _families(self) -> tuple[Family, ...]:
        installed = [entry.load() for entry in entry_points(group=GROUP)]
        for family in installed:
            if not (isinstance(family, type) and issubclass(family, NetworkDenoiser)):
                raise ModelError(
                    f"The entry point {family!r} of the group {GROUP} is not a subclass of "
                    "NetworkDenoiser. Correct the package that declares it."
                )
        return (*installed, *self._builtin)

    def __iter__(self) -> Iterator[Family]:
        return iter(self._families)

    def for_pipeline(self, name: str | None) -> Family | None:
        """Return the family of a pipeline class; None if there is none."""
        return next((family for family in self if name in family.pipelines), None)

    def for_network(self, config: Mapping[str, Any]) -> Family | None:
        """Return the family of a network without a pipeline; None if there is none.

        Args:
            config: config of the network, with its class under `_class_name`.
        """
        return next((family for family in self if family.matches_network(config)), None)

    def pipelines(self) -> list[str]:
        """Return the names of all pipeline classes."""
        return [name for family in self for name in family.pipelines]

    def refuse(self, network: str | None, place: object) -> ModelError:
        """Return the error for a network without a family, which lists what is supported."""
        return ModelError(
            f"The network of {place} is a {network}; supported: {', '.join(self._networks())}."
        )

    def _networks(self) -> list[str]:
        return [f"{' or '.join(f.networks)} of {' or '.join(f.pipelines)}" for f in self]
