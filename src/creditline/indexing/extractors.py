"""Feature extractors of methods, for building an index and for querying one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from creditline.diffusion.denoiser import Denoiser
from creditline.errors import SettingsError
from creditline.features.encoder import EncoderExtractor, load_encoder
from creditline.features.extractor import FeatureExtractor
from creditline.features.feature_sets import FeatureSetExtractor
from creditline.features.gradients import GradientExtractor
from creditline.features.pixels import PixelExtractor
from creditline.features.residuals import ResidualExtractor
from creditline.features.unrolled import UnrolledExtractor
from creditline.gradients.spec import FeatureSpec
from creditline.indexing.no_features import NoFeatures
from creditline.methods.attributor import Attributor


def make_extractor(
    method: Attributor,
    models: Sequence[Denoiser],
    shape: tuple[int, int, int],
    encoder: Any = None,
    device: str = "cpu",
    dim: int | None = None,
) -> FeatureExtractor:
    """The extractor of a method's features.

    Args:
        method: decides the kind of features.
        models: denoisers, for methods that take models.
        shape: of the images, for pixel methods.
        encoder: a callable, for encoder methods; otherwise the method's own folder is loaded.
        device: where an encoder runs.
        dim: an encoder's dimension, when known.

    Raises:
        SettingsError: if the method takes a model and none was given.
    """
    has = method.capabilities
    if has.models != "none" and not models:
        raise SettingsError(
            f"{method.title} needs a model and none was given. Pass a model, or use a similarity "
            "method."
        )
    if has.features is None:
        return NoFeatures(models)
    terms: Mapping[str, Any] = method.feature_terms()  # type: ignore[attr-defined]
    each = {
        name: _make_one(term, models, shape, encoder, device, dim) for name, term in terms.items()
    }
    return next(iter(each.values())) if len(each) == 1 else FeatureSetExtractor(each)


def _make_one(
    method: Any,
    models: Sequence[Denoiser],
    shape: tuple[int, int, int],
    encoder: Any,
    device: str,
    dim: int | None,
) -> FeatureExtractor:
    """The extractor of one feature set."""
    if method.capabilities.features == "pixels":
        return PixelExtractor(shape)
    if method.capabilities.features == "encoder":
        source = encoder if encoder is not None else method.encoder
        return EncoderExtractor(load_encoder(source, device), dim)
    if method.capabilities.features == "residuals":
        return ResidualExtractor(models, method.features)
    spec: FeatureSpec = method.features
    is_unrolled = spec.preconditioning.preconditioner_filter == "unrolled"
    kind = UnrolledExtractor if is_unrolled else GradientExtractor
    return kind(models, spec, method.query_plan, method.query_measure)
