"""The registry of attribution methods: built in, or added by other packages.

A package adds methods by entry points in the group `creditline.methods`, from a name to a class:

    [project.entry-points."creditline.methods"]
    my-method = "my_package.my_module:MyMethod"

A class that is registered nowhere is named by its place, `my_package.my_module:MyMethod`.
Classes are imported when they are asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata
from inspect import isabstract

from creditline.errors import CreditlineError, SettingsError, unknown
from creditline.methods.attributor import Attributor

GROUP = "creditline.methods"
BUILT_IN = {
    "pixel-dot": "pixel_dot:PixelDot",
    "pixel-cosine": "pixel_cosine:PixelCosine",
    "pixel-centered": "pixel_centered:PixelCentered",
    "encoder-dot": "encoder_dot:EncoderDot",
    "encoder-cosine": "encoder_cosine:EncoderCosine",
    "encoder-centered": "encoder_centered:EncoderCentered",
    "gradient-dot": "gradient_dot:GradientDot",
    "gradient-cosine": "gradient_cosine:GradientCosine",
    "gradient-centered": "gradient_centered:GradientCentered",
    "tracin": "tracin:TracInCP",
    "retrac": "retrac:ReTrac",
    "gas": "gas:GAS",
    "trak": "trak:TRAK",
    "d-trak": "d_trak:DTRAK",
    "das": "das:DAS",
    "relative-if": "relative_if:RelativeIF",
    "renormalized-if": "renormalized_if:RenormalizedIF",
    "ekfac": "ekfac:EKFACInfluence",
    "ekfac-cosine": "ekfac_cosine:EKFACCosine",
    "ekfac-streamed": "streamed_ekfac:StreamedEKFAC",
    "kfac": "kfac:KFACInfluence",
    "diag-fisher": "diag_fisher:DiagonalInfluence",
    "source": "source:Source",
    "combined": "combined:Combined",
    "learned-weights": "learned_weights:LearnedWeights",
    "journey-trak": "journey_trak:JourneyTRAK",
    "empirical-influence": "empirical_influence:EmpiricalInfluence",
    "datamodel": "datamodel:RidgeDatamodel",
    "datamodel-lasso": "datamodel_lasso:LassoDatamodel",
    "leave-one-out": "leave_one_out:LeaveOneOut",
}
DEFAULT = "combined"
"""The method where none is named."""
TEXTS = ("name", "title", "paper", "formula", "needs", "cost", "capabilities")


def names() -> tuple[str, ...]:
    """Names of all registered methods, built-in methods first."""
    return (*BUILT_IN, *(name for name in _plugins() if name not in BUILT_IN))


def get(name: str) -> type[Attributor]:
    """The class of a method.

    Args:
        name: a registered name, or `package.module:Class`.

    Raises:
        SettingsError: if there is none, with the nearest registered name; if the class cannot be
            imported or is no complete method.
    """
    if name in BUILT_IN:
        return _load(f"creditline.methods.{BUILT_IN[name]}")
    entry = _plugins().get(name)
    if entry is not None:
        package = f"The method {name!r} of the package {_package(entry)}"
        try:
            method = _load(entry.value)
            if method.name != name:
                raise SettingsError(f"its class is called {method.name!r}")
        except SettingsError as error:
            raise SettingsError(
                f"{package} cannot be used: {error}. Update the package or uninstall it."
            ) from error
        return method
    if ":" not in name:
        raise unknown("method", name, names())
    try:
        return _load(name)
    except SettingsError as error:
        raise SettingsError(
            f"The method {name!r} cannot be used: {error}. Name a subclass of "
            "creditline.methods.Attributor as package.module:Class."
        ) from error


def classes() -> Mapping[str, type[Attributor]]:
    """Every registered class by name; plug-ins that cannot be used are left out, see `broken`."""
    return {name: get(name) for name in names() if name not in broken()}


@cache
def broken() -> Mapping[str, str]:
    """Plug-ins that cannot be used: name to reason."""
    reasons = {}
    for name in names():
        try:
            get(name)
        except SettingsError as error:
            reasons[name] = str(error)
    return reasons


def reference(method: Attributor | type[Attributor]) -> str:
    """The name by which `get` finds the class of a method again."""
    cls = method if isinstance(method, type) else type(method)
    if cls.name in names() and cls.name not in broken() and get(cls.name) is cls:
        return cls.name
    return f"{cls.__module__}:{cls.__qualname__}"


@cache
def _plugins() -> Mapping[str, metadata.EntryPoint]:
    """Entry points by name.

    Raises:
        CreditlineError: if two packages register one name, or one a built-in name.
    """
    entries: dict[str, metadata.EntryPoint] = {}
    for entry in metadata.entry_points(group=GROUP):
        owner = entries.get(entry.name)
        if entry.name in BUILT_IN or (owner is not None and owner.value != entry.value):
            name = "Creditline" if owner is None else f"the package {_package(owner)}"
            raise CreditlineError(
                f"The package {_package(entry)} registers a method {entry.name!r}, a name that "
                f"{name} has already. Uninstall one of them, or rename the method."
            )
        entries[entry.name] = entry
    return entries


def _package(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(":")[0]


def _load(place: str) -> type[Attributor]:
    """The class at `package.module:Class`.

    Raises:
        SettingsError: saying what is wrong with it.
    """
    module, _, name = place.partition(":")
    try:
        value = sys.modules.get(module) or import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
    except Exception as error:
        raise SettingsError(
            f"{place} cannot be imported ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(value, type) or not issubclass(value, Attributor):
        raise SettingsError(f"{place} is no subclass of creditline.methods.Attributor")
    if isabstract(value):
        missing = ", ".join(sorted(value.__abstractmethods__))
        raise SettingsError(f"{place} does not implement {missing}")
    lacking = [text for text in TEXTS if not hasattr(value, text)]
    if lacking:
        raise SettingsError(f"{place} lacks the class attributes {', '.join(lacking)}")
    return value
