"""Counterfactual: leave a picture's most influential images out, train again, draw it again.

If an attribution tells the truth, the picture that the new model draws from the same noise differs
more from the first than after leaving out random images, or those of least influence. Everything
else stays: settings, training seed and noise. A retraining without removal must give the same
picture (on one machine, with as many threads as the model was trained with, up to float rounding
between batches of pictures); one with another seed shows how far pictures move for no reason.

One retraining per target, method and k is the paper's design. The cheap one leaves out the union
for all targets, trains once per method and k, and compares the targets with pictures from further
seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.tuning.config import TuneConfig
from creditline.evaluation.counterfactual.image_distance import measure_distances
from creditline.evaluation.counterfactual.removal import (
    BASELINES,
    NOTHING,
    RemovalSet,
    check_scores,
    plan,
)
from creditline.evaluation.counterfactual.result import BEFORE, CounterfactualResult, ImageChange
from creditline.files import write_file
from creditline.manifest import Manifest, circumstances, claim
from creditline.settings import require, setting, to_dict

if TYPE_CHECKING:
    from creditline.evaluation.counterfactual.retraining import CounterfactualRetraining

RESULT, SHEET = "counterfactual.json", "before-and-after.png"


@dataclass(frozen=True)
class CounterfactualConfig:
    """Settings of the experiment.

    Raises:
        SettingsError: on a grid without a positive number, or a negative count.
    """

    removals: tuple[int, ...] = setting((50,), "training images to leave out per target: a grid")
    together: bool = setting(
        False, "leave out the union for all targets and train once, instead of once per target"
    )
    baselines: tuple[str, ...] = setting(BASELINES, "what to compare with, or none")
    controls: int = setting(32, "with --together: pictures of further seeds to compare with")
    removal_seed: int = setting(0, "seed of random removal")
    keep_models: bool = setting(False, "keep every retrained model")

    def __post_init__(self) -> None:
        require(
            len(self.removals) > 0 and all(k >= 1 for k in self.removals),
            "removals are one or more positive numbers",
            self.removals,
            "Try 50.",
        )
        require(
            set(self.baselines) <= set(BASELINES),
            f"baselines are among {', '.join(BASELINES)}",
            self.baselines,
            "Leave it out for all.",
        )
        require(self.controls >= 0, "controls must not be negative", self.controls, "Try 32.")


def counterfactual(
    images: Any,
    targets: Any,
    scores: Mapping[str, np.ndarray],
    out: str | Path,
    *,
    config: TrainConfig | TuneConfig,
    model: str | None = None,
    base: Any = None,
    settings: CounterfactualConfig | None = None,
    encoder: Any = None,
    workers: int = 1,
    device: str = "cpu",
    threads: int = 1,
    overwrite: bool = False,
) -> CounterfactualResult:
    """Run the experiment.

    Interrupt it at any time; the same call continues. A further method, k or baseline only adds its
    own retrainings to those that `out` holds.

    Args:
        images: the model's training images; what `load_images` takes.
        targets: pictures that `generate` drew with the model: a folder or files of one.
        scores: by method, float of shape `(m, n)`; targets in the order of `targets`.
        out: folder; receives the pictures of every retraining, `counterfactual.json` and
            `before-and-after.png`.
        config: settings with which the model was trained.
        model: fingerprint of the trained model, which must have drawn the targets; None: not
            checked.
        base: model from which its training started, or that it tuned, if any.
        settings: see `CounterfactualConfig`.
        encoder: takes a list of pictures, returns `(b, k)`; adds the cosine of its embeddings.
        workers: processes.
        device: where to train.
        threads: CPU threads of each training. Results are equal to those of another number only
            up to rounding that training magnifies.
        overwrite: replace the results of another experiment.

    Raises:
        CreditlineError: before long work, if anything does not fit (see `creditline.errors`).
    """
    from creditline.diffusion.load import load_model
    from creditline.evaluation.counterfactual.retraining import CounterfactualRetraining
    from creditline.evaluation.counterfactual.sampling_plan import read_targets

    require(threads >= 1, "The number of threads must be at least 1", threads, "Use 1 or more.")
    settings, folder, pictures = settings or CounterfactualConfig(), Path(out), load_images(images)
    originals, draws = read_targets(targets, pictures, model)
    matrices = check_scores(scores, len(draws), len(pictures))
    together = settings.together and settings.controls > 0
    removals = plan(
        matrices,
        originals.ids,
        settings.removals,
        together=settings.together,
        training_seed=config.seed,
        removal_seed=settings.removal_seed,
        # Controls are compared with what the model without removal draws.
        baselines={*settings.baselines, NOTHING} if together else settings.baselines,
    )
    controls = draws.further(settings.controls) if together else None
    start = None if base is None else load_model(base)
    keep = settings.keep_models
    retrained = CounterfactualRetraining(
        pictures, draws, controls, config, start, device, threads, folder, keep_models=keep
    )
    request = {
        "config": to_dict(config),
        "base": None if start is None else start.fingerprint,
        "images": pictures.fingerprint,
        "targets": {"ids": originals.ids, **draws.request()},
        "controls": 0 if controls is None else len(controls),
        "threads": threads if device == "cpu" else None,
    }
    manifest = Manifest("counterfactual", request, circumstances())
    claim(manifest, folder, overwrite)
    retrained.run(removals, workers)
    result = compare(retrained, removals, originals, encoder)
    text = json.dumps(result.to_json(), indent=2, ensure_ascii=False) + "\n"
    write_file(folder / RESULT, lambda path: path.write_text(text, "utf-8"), overwrite=True)
    write_file(folder / SHEET, result.sheet().save, overwrite=True)
    replace(manifest, status="complete").write(folder)
    return result


def compare(
    retrained: CounterfactualRetraining,
    removals: Sequence[RemovalSet],
    originals: ImageSet,
    encoder: Any = None,
) -> CounterfactualResult:
    """Distances of everything that was drawn from what was there before."""
    targets = originals.array()
    nothing = next((r for r in removals if r.rule == NOTHING), None)
    m, controls = len(targets), 0 if retrained.controls is None else len(retrained.controls)
    others = targets[:0] if nothing is None else retrained.pictures(nothing)[m : m + controls]
    names = [*originals.names, *(f"control {i:03d}" for i in range(len(others)))]
    changes: list[ImageChange] = []
    after: dict[tuple[str, int], np.ndarray] = {(BEFORE, 0): targets}
    for removal in removals:
        own = list(removal.targets)
        drawn = retrained.pictures(removal)
        distances = measure_distances(np.concatenate([targets[own], others]), drawn, encoder)
        after.setdefault((removal.rule, removal.k), np.zeros_like(targets))[own] = drawn[: len(own)]
        positions = [*own, *range(m, m + len(others))]
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
                picture=names[position],
                target=position < m,
                **{name: column[i] for name, column in values.items()},
            )
            for i, position in enumerate(positions)
        ]
    return CounterfactualResult(tuple(changes), after, originals.names)
