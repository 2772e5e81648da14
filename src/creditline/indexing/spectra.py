"""Fitted curvature on disk: decomposed once for each content of an index, then read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from creditline.curvature.kernel import MEMORY
from creditline.curvature.spectrum import Spectrum
from creditline.errors import DamageError
from creditline.features.table import FeatureTable
from creditline.notice import notice
from creditline.runtime import Runtime
from creditline.stored_arrays import read_tensors, write_tensors


def load_or_fit(
    folder: Path,
    features: FeatureTable,
    feature_set: str,
    center: bool,
    half: str,
    memory: int = MEMORY,
    runtime: Runtime | None = None,
) -> list[Spectrum]:
    """One spectrum per model, from `folder` when it is there, computed and stored otherwise.

    Args:
        folder: of results that were fitted to these features.
        features: the index's feature table, or one set or half of it.
        feature_set: name of the set; empty for all features.
        center: whether the mean feature is removed.
        half: which half of the noise the features are of; empty for both.
        memory: bytes that a decomposition may take.
        runtime: receives progress.

    Raises:
        SettingsError: if `memory` is too little.
    """
    stored = load(folder, feature_set, center, half)
    if stored is not None:
        return stored
    result = []
    with (runtime or Runtime()).progress("curvature", features.models, "model") as bar:
        for c in range(features.models):
            result.append(Spectrum.fit(features, c, center, memory=memory))
            bar.advance()
    save(folder, feature_set, center, half, result)
    return result


def load(folder: Path, feature_set: str, center: bool, half: str) -> list[Spectrum] | None:
    """One spectrum per model, or None where none are stored, or what is stored is damaged."""
    path = _path(folder, feature_set, center, half)
    if not path.is_file():
        return None
    try:
        stored = read_tensors(path, load_file, "It is computed again from the features.")
    except DamageError as error:
        notice(str(error))
        return None
    models: dict[int, dict[str, np.ndarray]] = {}
    for key, array in stored.items():
        model, name = key.split(".", 1)
        models.setdefault(int(model), {})[name] = array
    return [Spectrum.from_arrays(models[c]) for c in sorted(models)]


def save(
    folder: Path,
    feature_set: str,
    center: bool,
    half: str,
    spectra: Sequence[Spectrum],
    *,
    durable: bool = False,
) -> None:
    """Store one spectrum per model; `durable` as of `write_file`."""
    tensors = {f"{c}.{key}": a for c, s in enumerate(spectra) for key, a in s.arrays().items()}
    path = _path(folder, feature_set, center, half)
    # Two processes that fit at the same time write the same numbers.
    write_tensors(path, tensors, save_file, durable=durable)


def _path(folder: Path, feature_set: str, center: bool, half: str) -> Path:
    parts = ["curvature", feature_set, "centered" if center else "raw", half]
    return folder / f"{'-'.join(part for part in parts if part)}.safetensors"
