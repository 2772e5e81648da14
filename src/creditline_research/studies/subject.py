"""What a study judges: a model, its training images, queries, and a ground truth of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from creditline.benchmarks.shipped_benchmark import ShippedBenchmark, digest
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.evaluation.lds.ceiling import compute_ceiling
from creditline.evaluation.lds.score import LDS, predict_outputs, score_outputs
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.truth.query_sets import load_query_sets, name_folders


@dataclass(frozen=True)
class Subject:
    """One case of a study.

    Attributes:
        name: of the case.
        model: that was trained on all training images; what `load_model` takes.
        train: training images, in the order of the ground truth.
        queries: query images by the name of their folder, in the order of the ground truth.
        truth: its complete subsets.
        key: identifies ground truth and images.
    """

    name: str
    model: str
    train: ImageSet
    queries: Mapping[str, ImageSet]
    truth: GroundTruth
    key: str

    def ceilings(self) -> dict[str, float | None]:
        """LDS of a second set of retrained models by folder; None where there is one seed."""
        return {name: _ceiling(self.truth.losses[:, :, rows]) for name, rows in self._folders()}

    def judge(self, scores: np.ndarray, resamples: int, seed: int) -> dict[str, LDS]:
        """The LDS of scores on every folder of queries.

        Args:
            scores: of all training images for all queries, shape `(m, n)`.
            resamples, seed: of the bootstrap.
        """
        return {
            name: score_outputs(
                predict_outputs(scores[rows], self.truth.masks),
                self.truth.losses[:, :, rows],
                query_names=list(self.queries[name].names),
                resamples=resamples,
                seed=seed,
            )
            for name, rows in self._folders()
        }

    def _folders(self) -> Iterator[tuple[str, slice]]:
        start = 0
        for name, images in self.queries.items():
            yield name, slice(start, start + len(images))
            start += len(images)

    @classmethod
    def of_benchmark(cls, case: ShippedBenchmark, data: Any = None) -> Self:
        """A benchmark, with its images where it does not know them.

        Raises:
            DataError: if the images are not the benchmark's.
        """
        train, validation = case.images(data)
        queries = case.query_sets(train, validation)
        truth = case.truth().complete_subsets()
        return cls(case.benchmark.name, str(case.model), train, dict(queries), truth, digest(case))

    @classmethod
    def of_files(
        cls, model: str, images: str | Path, queries: Sequence[str], truth: str | Path
    ) -> Self:
        """A model of one's own, and what `creditline evaluate retrain` wrote.

        Raises:
            DataError, IndexMismatchError: if ground truth and images do not fit together.
        """
        train, judged = load_images(images), GroundTruth.read(truth)
        folders = dict(load_query_sets(name_folders(queries), train))
        judged.check_index(train.ids)
        judged.check_queries([key for folder in folders.values() for key in folder.ids])
        judged.check_ranking()
        name = Path(model).resolve().name
        return cls(name, model, train, folders, judged.complete_subsets(), judged.digest())


def _ceiling(losses: np.ndarray) -> float | None:
    return None if losses.shape[1] < 2 else compute_ceiling(losses, resamples=1).mean_to_mean
