"""Fitted curvature on disk: decomposed once for each content of an index, then read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from creditline.curvature.kernel import MEMORY
from creditline.curvature.spectrum import Spectrum
from creditline.errors import CreditlineError
from creditline.features.table import FeatureTable
from creditline.files import write_file
from creditline.runtime import Runtime


def fitted(
    folder: Path,
    features: FeatureTable,
    center: bool,
    part: str = "",
    memory: int = MEMORY,
    runtime: Runtime | None = None,
) -> list[Spectrum]:
    """One spectrum per model, from `folder` when it is there, computed and stored otherwise.

    Args:
        folder: of what was fitted to these features.
        features: the index's feature table.
        center: whether the mean feature is removed.
        part: which half of the noise they are of, if not the whole.
        memory: bytes that a decomposition may take.
        runtime: hears of progress.

    Raises:
        CreditlineError: if the stored file is damaged.
        SettingsError: if `memory` is too little.
    """
    found = load(folder, center, part)
    if found is not None:
        return found
    found = []
    with (runtime or Runtime()).progress("curvature", features.models, "model") as bar:
        for c in range(features.models):
            found.append(Spectrum.fit(features, c, center, memory=memory))
            bar.advance()
    save(folder, center, part, found)
    return found


def load(folder: Path, center: bool, part: str = "") -> list[Spectrum] | None:
    """One spectrum per model, or None where none are stored.

    Raises:
        CreditlineError: if the stored file is damaged.
    """
    path = _path(folder, center, part)
    if not path.is_file():
        return None
    try:
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CreditlineError(
            f"{path} is damaged ({error}). Delete it; it is computed again from the features."
        ) from error
    models: dict[int, dict[str, np.ndarray]] = {}
    for key, array in stored.items():
        model, name = key.split(".", 1)
        models.setdefault(int(model), {})[name] = array
    return [Spectrum.from_arrays(models[c]) for c in sorted(models)]


def save(folder: Path, center: bool, part: str, spectra: Sequence[Spectrum]) -> None:
    """Store one spectrum per model."""
    tensors = {f"{c}.{key}": a for c, s in enumerate(spectra) for key, a in s.arrays().items()}
    path = _path(folder, center, part)
    # Two first traces at once find the same.
    write_file(path, lambda aside: save_file(tensors, aside), overwrite=True)


def _path(folder: Path, center: bool, part: str) -> Path:
    kind = "centered" if center else "raw"
    return folder / f"curvature-{kind}{part and '-'}{part}.safetensors"
