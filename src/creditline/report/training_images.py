"""The training images of a report: each one once, with its metadata and the rankings it is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from creditline.records import Hit, TraceRecord
from creditline.report.figures import clean
from creditline.report.source_address import source_address

ImageKey = tuple[int, str]
"""Row and content hash."""


@dataclass(frozen=True)
class RankingPlace:
    """Where a training image stands in the ranking of one query image.

    Attributes:
        query: number of the query image, from 1.
        rank: 1 is the strongest of its list.
        z: distance of its score from the query's mean score, in standard deviations.
    """

    query: int
    rank: int
    z: float


@dataclass(frozen=True)
class MetadataValue:
    """One value of a training image's metadata; `address` is set where it is a link."""

    name: str
    value: str
    address: str | None = None


@dataclass(frozen=True)
class TrainingImage:
    """A training image and all rankings of a trace that list it.

    Attributes:
        number: from 1, in the order of the report.
        hit: one of its hits, for what does not depend on the query image.
        proponent_of, opponent_of: its places, best rank first.
    """

    number: int
    hit: Hit
    proponent_of: tuple[RankingPlace, ...]
    opponent_of: tuple[RankingPlace, ...]

    @property
    def metadata(self) -> tuple[MetadataValue, ...]:
        """Its label and further metadata columns, without empty values."""
        values = (("label", self.hit.label), *self.hit.columns.items())
        return tuple(
            MetadataValue(name, value, source_address(name, value))
            for name, value in values
            if value is not None and clean(value)
        )


def training_images(trace: TraceRecord) -> dict[ImageKey, TrainingImage]:
    """Collect every training image that a trace lists, by `image_key`, in the order of the report.

    Those that are proponents of most query images come first, ties by the sum of their z. Opponents
    alone come last, in the same way.
    """
    hits: dict[ImageKey, Hit] = {}
    places: tuple[dict[ImageKey, list[RankingPlace]], ...] = ({}, {})
    for number, query in enumerate(trace, start=1):
        for ranking, end in zip((query.proponents, query.opponents), places, strict=True):
            for hit in ranking:
                hits.setdefault(image_key(hit), hit)
                place = RankingPlace(number, hit.rank, hit.z)
                end.setdefault(image_key(hit), []).append(place)
    proponents, opponents = ({k: end.get(k, []) for k in hits} for end in places)

    def strength(k: ImageKey) -> tuple:
        p, o = proponents[k], opponents[k]
        return -len(p), -sum(place.z for place in p), -len(o), sum(place.z for place in o), *k

    return {
        k: TrainingImage(number, hits[k], _by_rank(proponents[k]), _by_rank(opponents[k]))
        for number, k in enumerate(sorted(hits, key=strength), start=1)
    }


def image_key(hit: Hit) -> ImageKey:
    """Return what identifies the training image of a hit."""
    return hit.row, hit.id


def _by_rank(places: Sequence[RankingPlace]) -> tuple[RankingPlace, ...]:
    return tuple(sorted(places, key=lambda place: (place.rank, place.query)))
