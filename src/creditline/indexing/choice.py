"""Which methods an index can serve: those that score the features it holds."""

from __future__ import annotations

from creditline import methods
from creditline.errors import IndexMismatchError, SettingsError, difference
from creditline.methods.base import Method
from creditline.settings import to_dict


def chosen(method: str | Method, held: Method) -> Method:
    """An instance of a named method on the features that another one was indexed with.

    Raises:
        IndexMismatchError: if it differentiates another objective.
        SettingsError: on an unknown name.
    """
    if isinstance(method, Method):
        return method
    cls = methods.get(method)
    alike = cls.query_plan is type(held).query_plan
    names = ["features", "ridge", "encoder", "score_shape", *(["query_draws"] if alike else [])]
    shared = {
        name: getattr(held, name)
        for name in names
        if hasattr(held, name) and name in cls.__dataclass_fields__  # type: ignore[attr-defined]
    }
    if "features" in shared:
        default = cls().features.objective  # type: ignore[attr-defined]
        if shared["features"].objective != default:
            lines = difference(to_dict(shared["features"].objective), to_dict(default))
            raise IndexMismatchError(
                f"{cls.title} differentiates another objective than this index holds:\n"
                + "\n".join(lines)
                + f"\nBuild an index with --method {cls.name}, or pass an instance with the "
                "settings you mean."
            )
    return cls(**shared)


def require_features(method: Method, held: Method) -> None:
    """Refuse a method that needs other features than an index holds.

    Raises:
        IndexMismatchError: naming them.
    """
    if held.source != method.source:
        raise IndexMismatchError(
            f"{method.title} needs {method.source}; this index holds {held.source}. "
            f"Build one with --method {method.name}."
        )
    mine, other = (getattr(m, "features", None) for m in (held, method))
    if mine != other:
        raise IndexMismatchError(
            f"{method.title} was given other feature settings than the index holds:\n"
            + "\n".join(difference(to_dict(mine), to_dict(other)))
            + "\nTake them from index.method.features."
        )


def require_searchable(method: Method) -> None:
    """Refuse a method whose ranking is not that of one inner product per image.

    Raises:
        SettingsError: for rankings at single timesteps, and thresholds that differ from image to
            image.
    """
    if method.keeps_timesteps:
        raise SettingsError(
            f"{method.title} at single timesteps has a ranking for each, and a search finds one. "
            "Use trace, or average over timesteps (--no-per-timestep)."
        )
    shape = getattr(method, "score_shape", None)
    if shape is not None and shape.needs_error:
        raise SettingsError(
            "A threshold in units of errors ranks by more than an inner product, which is all that "
            "a search looks at. Use trace, or threshold_unit='spread'."
        )
