"""Fitted curvature on disk: decomposed once per index, then read."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from creditline.curvature.spectrum import Spectrum
from creditline.errors import CreditlineError
from creditline.features import Features
from creditline.files import write_file
from creditline.progress import Progress


def fitted(folder: Path, features: Features, centre: bool, part: str = "") -> list[Spectrum]:
    """One spectrum per model, from `folder` when it is there, computed and stored otherwise.

    Args:
        folder: the index.
        features: its feature table.
        centre: whether the mean feature is removed.
        part: which half of the noise they are of, if not the whole.

    Raises:
        CreditlineError: if the stored file is damaged.
    """
    kind = "centred" if centre else "raw"
    path = folder / f"curvature-{kind}{part and '-'}{part}.safetensors"
    if path.is_file():
        try:
            stored = load_file(path)
        except (SafetensorError, OSError) as error:
            raise CreditlineError(
                f"{path} is damaged ({error}). Delete it; it is computed again from the features."
            ) from error
        return [
            Spectrum.from_arrays(
                {key.split(".", 1)[1]: a for key, a in stored.items() if key.startswith(f"{c}.")}
            )
            for c in range(features.models)
        ]
    spectra = []
    with Progress("curvature", features.models, "model") as bar:
        for c in range(features.models):
            spectra.append(Spectrum.fit(features, c, centre))
            bar.advance()
    tensors = {f"{c}.{key}": a for c, s in enumerate(spectra) for key, a in s.arrays().items()}
    # Two first traces at once find the same.
    write_file(path, lambda aside: save_file(tensors, aside), overwrite=True)
    return spectra
