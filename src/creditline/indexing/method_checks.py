"""What a method has to be able to do, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any

from creditline import methods
from creditline.errors import IndexMismatchError, SettingsError, difference
from creditline.methods.attributor import Attributor


def method_for(method: str | Attributor, held: Attributor) -> Attributor:
    """A method by name or instance, for an index that was built for another one.

    A method given by name takes over the settings that it shares with the index's own.

    Raises:
        IndexMismatchError: if it needs features that the index does not hold.
        SettingsError: on an unknown name.
    """
    if isinstance(method, Attributor):
        return method
    cls = methods.get(method)
    _require_content(cls, held)
    if isinstance(held, cls):
        return cls.sharing(held)
    for term in feature_terms(held).values():
        with suppress(IndexMismatchError):
            shared: Any = cls.sharing(term)
            own = {
                f.name: getattr(shared, f.name)
                for f in fields(shared)
                if f.metadata.get("affects") == "features"
            }
            method = cls(**own)  # all else as the method's own default
            if feature_set_of(method, held) is not None:
                return method
    return cls.sharing(held)


def feature_terms(method: Attributor) -> Mapping[str, Attributor]:
    """The methods whose features an index of a method holds; empty where it has none."""
    terms = getattr(method, "feature_terms", None)
    return {} if terms is None else terms()


def feature_set_of(method: Attributor, held: Attributor) -> str | None:
    """The feature set that a method scores on an index that was built for `held`.

    Returns:
        Its name, `""` for all of the features, or None where the index lacks them.
    """
    settings = method.index_settings()
    if settings == held.index_settings():
        return ""
    terms = feature_terms(held)
    names = [name for name, term in terms.items() if term.index_settings() == settings]
    return names[0] if len(terms) > 1 and names else None


def require_shared_index(method: Attributor, held: Attributor) -> None:
    """Refuse a method that needs another index than one that was built for `held`.

    Raises:
        IndexMismatchError: naming the settings that differ.
    """
    _require_content(type(method), held)
    if feature_set_of(method, held) is not None:
        return
    raise IndexMismatchError(
        f"{method.title} was given other feature settings than the index holds:\n"
        + "\n".join(difference(held.index_settings(), method.index_settings()))
        + "\nTake them from index.method."
    )


def _require_content(cls: type[Attributor], held: Attributor) -> None:
    needs, has = cls.capabilities, held.capabilities
    if (needs.kind, needs.features) == (has.kind, has.features):
        return
    contents = {
        "bilinear": "{} features",
        "model": "references to a model and its training images",
        "subset": "losses of retrained models",
    }
    need, hold = (contents[c.kind].format(c.features) for c in (needs, has))
    raise IndexMismatchError(
        f"{cls.title} needs {need}; this index holds {hold}. Build one with --method {cls.name}."
    )


def require_searchable(method: Attributor) -> None:
    """Refuse a method whose ranking is not that of one inner product per image.

    Raises:
        SettingsError: for methods without stored factors, rankings at single timesteps, squared
            scores, and thresholds that differ from image to image.
    """
    if not method.capabilities.searchable:
        raise SettingsError(
            f"{method.title} has no stored factors to search. Use trace, which computes every "
            "score."
        )
    if method.keeps_timesteps:
        raise SettingsError(
            f"{method.title} at single timesteps has a ranking for each, and a search returns one. "
            "Use trace, or average over timesteps (--no-per-timestep)."
        )
    if method.score_transform.transform == "squared":
        raise SettingsError(
            "Squared scores rank opponents among proponents, and a search finds the largest inner "
            "products. Use trace, or another transform."
        )
    if method.score_transform.needs_error:
        raise SettingsError(
            "A threshold in units of errors ranks by more than an inner product, which is all that "
            "a search computes. Use trace, or threshold_unit='spread'."
        )


def require_updatable(method: Attributor) -> None:
    """Refuse to add or remove images where the index of a method cannot be updated.

    Raises:
        SettingsError: naming the method.
    """
    if not method.capabilities.updatable:
        raise SettingsError(
            f"Images cannot be added to or removed from an index of {method.title}, whose scores "
            "are not computed from stored features. Build a new index of the images you mean."
        )


def require_regions(method: Attributor) -> None:
    """Refuse a region of a query where the method scores images as a whole only.

    Raises:
        SettingsError: naming the method.
    """
    if not method.capabilities.regions:
        raise SettingsError(
            f"{method.title} cannot score a region of a query image. Leave the region out, or use "
            "a gradient method."
        )
