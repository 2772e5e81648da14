"""Counterfactual evaluation: remove influential training images, retrain, and generate again.

If an attribution is right, the image that the retrained model generates from the same noise changes
more than after the removal of random images or of the least influential ones. Training settings,
training seed and noise stay the same. A retraining without removal must reproduce the image, up to
rounding between batches, on the same machine with the same number of threads. A retraining with
another seed shows how much images change without any removal.

The design of the D-TRAK paper is one retraining per target, method and k. A cheaper design removes
the union for all targets and retrains once per method and k. In both, control images from further
seeds show whether a removal changes its targets more than other images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from creditline.bounds import COUNT, NOT_NEGATIVE, SEED
from creditline.claim import claim
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.tuning.config import TuneConfig
from creditline.evaluation.counterfactual.image_distance import measure_distances
from creditline.evaluation.counterfactual.images import RESULT, write_images
from creditline.evaluation.counterfactual.removal import (
    BASELINES,
    NOTHING,
    RemovalSet,
    check_scores,
    plan_removals,
)
from creditline.evaluation.counterfactual.result import BEFORE, CounterfactualResult, ImageChange
from creditline.explain import explained
from creditline.files import write_file
from creditline.lock import locked
from creditline.manifest import Manifest, circumstances
from creditline.runtime import Runtime
from creditline.settings import require, setting, to_dict, validate_settings
from creditline.stored_json import write_json

if TYPE_CHECKING:
    from creditline.data.image_source import ImageSource
    from creditline.diffusion.model_source import ModelSource
    from creditline.evaluation.counterfactual.retraining import CounterfactualRetraining
    from creditline.features.encoder import Encoder
    from creditline.indexing.queries import QuerySource

SHEET = "before-and-after.png"
CONTROLS = 32


@dataclass(frozen=True)
class CounterfactualConfig:
    """Settings of a counterfactual evaluation.

    Raises:
        SettingsError: if a number of removals is not positive or a count is negative.
    """

    removals: tuple[int, ...] = setting(
        (50,), "numbers of training images to remove per target", bounds=COUNT
    )
    together: bool = setting(
        False, "remove the union for all targets and train once, instead of once per target"
    )
    baselines: tuple[str, ...] = setting(BASELINES, "baselines to compare with, or none")
    controls: int | None = setting(
        None,
        f"control images from further seeds that every retrained model generates, too; none: "
        f"{CONTROLS} with --together, otherwise 0",
        bounds=NOT_NEGATIVE,
    )
    removal_seed: int = setting(0, "seed of random removal", bounds=SEED)
    keep_models: bool = setting(False, "keep every retrained model")

    def __post_init__(self) -> None:
        validate_settings(self)
        require(
            set(self.baselines) <= set(BASELINES),
            f"baselines are among {', '.join(BASELINES)}",
            self.baselines,
            "Leave it out for all.",
        )

    @property
    def control_count(self) -> int:
        """Number of control images."""
        if self.controls is None:
            return CONTROLS if self.together else 0
        return self.controls


@explained
def run_counterfactual(
    images: ImageSource,
    targets: QuerySource,
    scores: Mapping[str, np.ndarray],
    out: str | Path,
    *,
    config: TrainConfig | TuneConfig,
    model: str | None = None,
    base: ModelSource | None = None,
    settings: CounterfactualConfig | None = None,
    encoder: Encoder | None = None,
    runtime: Runtime | None = None,
    overwrite: bool = False,
) -> CounterfactualResult:
    """Run a counterfactual evaluation.

    The call may be interrupted at any moment; the same call continues. A further method, k or
    baseline adds only its own retrainings to those in `out`.

    Args:
        images: training images of the model; see `load_images`.
        targets: images that `generate` created with the model: a folder, or files of one.
        scores: scores by method, shape `(m, n)`, with the m targets in order.
        out: folder of the results: the images of every retraining, `counterfactual.json`,
            `before-and-after.png` and the targets as PNG files, in `images/RULE-K/`.
        config: training settings of the model; see `read_training_config`.
        model: fingerprint of the model, which must have generated the targets; None disables the
            check.
        base: model that the training started from or tuned, if any.
        settings: settings of the evaluation.
        encoder: function of a list of images that returns shape `(b, k)`; adds the cosine of its
            embeddings.
        runtime: where and how models are trained; by default on one thread each. Another number of
            threads changes rounding, which training amplifies.
        overwrite: replace results of other settings.

    Raises:
        CreditlineError: before any training, if inputs do not fit together.
    """
    from creditline.diffusion.load import load_model
    from creditline.evaluation.counterfactual.retraining import CounterfactualRetraining
    from creditline.evaluation.counterfactual.sampling_plan import read_targets

    runtime = runtime or Runtime()
    device, threads = runtime.main_device, runtime.threads or 1
    settings, folder = settings or CounterfactualConfig(), Path(out)
    image_set = load_images(images, runtime=runtime)
    originals, plan = read_targets(targets, image_set, model)
    matrices = check_scores(scores, len(plan), len(image_set))
    removals = plan_removals(
        matrices,
        originals.ids,
        settings.removals,
        together=settings.together,
        training_seed=config.seed,
        removal_seed=settings.removal_seed,
        # Controls are compared with those of the retraining without removal.
        baselines={*settings.baselines, NOTHING} if settings.control_count else settings.baselines,
    )
    controls = plan.extend(settings.control_count) if settings.control_count else None
    start = None if base is None else load_model(base)
    retraining = CounterfactualRetraining(
        *(image_set, plan, controls, config, start, device, threads, folder),
        keep_models=settings.keep_models,
    )
    request = {
        "config": to_dict(config),
        "base": None if start is None else start.fingerprint,
        "images": image_set.fingerprint,
        "targets": {"ids": originals.ids, **plan.request()},
        "controls": 0 if controls is None else len(controls),
        "threads": threads if device == "cpu" else None,
    }
    manifest = Manifest("counterfactual", request, circumstances())
    with claim(manifest, folder, overwrite), locked(folder):
        retraining.run(removals, runtime)
        result = compare_images(retraining, removals, originals, encoder)
        write_json(folder / RESULT, result.to_json())
        write_file(folder / SHEET, result.sheet().save, overwrite=True)
        write_images(result, folder)
        replace(manifest, status="complete").write(folder)
    return result


def compare_images(
    retraining: CounterfactualRetraining,
    removals: Sequence[RemovalSet],
    originals: ImageSet,
    encoder: Encoder | None = None,
) -> CounterfactualResult:
    """Measure the change of every generated image."""
    targets = originals.array()
    nothing = next((r for r in removals if r.rule == NOTHING), None)
    m, count = len(targets), 0 if retraining.controls is None else len(retraining.controls)
    controls = targets[:0] if nothing is None else retraining.read_images(nothing)[m : m + count]
    names = [*originals.names, *(f"control {i:03d}" for i in range(len(controls)))]
    changes: list[ImageChange] = []
    after: dict[tuple[str, int], np.ndarray] = {(BEFORE, 0): targets}
    for removal in removals:
        own = list(removal.targets)
        generated = retraining.read_images(removal)
        distances = measure_distances(np.concatenate([targets[own], controls]), generated, encoder)
        after.setdefault((removal.rule, removal.k), np.zeros_like(targets))[own] = generated[
            : len(own)
        ]
        positions = [*own, *range(m, m + len(controls))]
        values = {
            name: [float(v) for v in column]
            for name, column in vars(distances).items()
            if column is not None
        }
        changes += [
            ImageChange(
                rule=removal.rule,
                k=removal.k,
                removed=len(removal.rows),
                image=names[position],
                target=position < m,
                removal_target=names[own[0]] if len(own) == 1 < m else None,
                **{name: column[i] for name, column in values.items()},
            )
            for i, position in enumerate(positions)
        ]
    return CounterfactualResult(tuple(changes), after, originals.names)
