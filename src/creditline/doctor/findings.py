"""Results of an examination: findings and the estimated cost of an index."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from creditline.units import duration, size

WIDTH = 100
Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        check: name of the check.
        status: `"fail"` where attributions would be wrong or the index could not be built.
        text: the finding, with numbers.
        remedy: what to change; empty if nothing.
    """

    check: str
    status: Status
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        first = _wrapped(f"{self.status:4}  {self.check:20} ", self.text)
        return f"{first}\n{_wrapped(' ' * 27 + '-> ', self.remedy)}" if self.remedy else first


@dataclass(frozen=True)
class Cost:
    """Cost of an index, extrapolated from the extraction of a few images.

    Attributes:
        n: number of images of the index.
        workers: number of processes.
        evaluations: forward and backward passes per image.
        dim: feature dimension.
        measured: number of images that were timed.
        cpu_seconds, wall_seconds: per image, with one CPU thread, including writing.
        start_seconds: of CPU, before the first image.
        hours: for all images on all workers.
        image_bytes: on disk per image: feature, norm, thumbnail and facts.
        build_bytes: on disk when the index is built.
        query_seconds: per query, once the curvature is fitted.
        trace_seconds, trace_bytes: added once by the first trace, for curvature and stored
            train-side factors.
        free_bytes: free space on the disk of the index.
    """

    n: int
    workers: int
    evaluations: int
    dim: int
    measured: int
    cpu_seconds: float
    wall_seconds: float
    start_seconds: float
    hours: float
    image_bytes: float
    build_bytes: float
    query_seconds: float
    trace_seconds: float
    trace_bytes: float
    free_bytes: int

    @property
    def build_seconds(self) -> float:
        """CPU seconds of building the index, without the start of its processes."""
        return self.start_seconds + self.n * self.cpu_seconds

    @property
    def total_bytes(self) -> float:
        """Bytes on disk after the first trace."""
        return self.build_bytes + self.trace_bytes

    def plus(self, other: Cost, feature_bytes: float, number_bytes: float) -> Cost:
        """The cost of an index that holds another feature set as well.

        Args:
            other: cost of an index of that set alone.
            feature_bytes: its part of a row.
            number_bytes: what the first trace of both keeps only once.
        """
        sums = ("dim", "cpu_seconds", "wall_seconds", "start_seconds", "hours", "query_seconds")
        added = {
            name: getattr(self, name) + getattr(other, name) for name in (*sums, "trace_seconds")
        }
        more = {
            "image_bytes": feature_bytes,
            "build_bytes": self.n * feature_bytes,
            "trace_bytes": other.trace_bytes - number_bytes,
        }
        return replace(self, **added, **{k: getattr(self, k) + v for k, v in more.items()})

    def __str__(self) -> str:
        rows = [
            (
                "features",
                f"{self.cpu_seconds:.3g} s of CPU per image ({self.wall_seconds:.3g} s on the "
                f"clock) for {self.evaluations} evaluations; {duration(3600 * self.hours)} for "
                f"{self.n:,} images with {self.workers} worker{'s' * (self.workers > 1)}",
            ),
            (
                "disk",
                f"{size(self.image_bytes)} per image at dimension {self.dim:,}; "
                f"{size(self.build_bytes)} when built, {size(self.total_bytes)} after the first "
                f"trace, {size(self.free_bytes)} free",
            ),
            ("query", f"{duration(self.query_seconds)} each"),
            ("first query", f"about {duration(self.trace_seconds)} more, once"),
        ]
        return lines(f"Cost, estimated from {self.measured} extracted images:", rows)


@dataclass(frozen=True)
class Diagnosis:
    """Findings about a model and its images.

    Attributes:
        findings: in the order the checks ran.
        cost: None where nothing could be extracted.
    """

    findings: tuple[Finding, ...]
    cost: Cost | None

    @property
    def failed(self) -> bool:
        """Whether a check failed; warnings are not failures."""
        return any(finding.status == "fail" for finding in self.findings)

    def __getitem__(self, check: str) -> Finding:
        """Look up the finding of one check.

        Raises:
            KeyError: if that check did not run.
        """
        for finding in self.findings:
            if finding.check == check:
                return finding
        raise KeyError(check)

    def __str__(self) -> str:
        counts = {s: sum(f.status == s for f in self.findings) for s in ("ok", "warn", "fail")}
        cost = "No cost: features could not be extracted." if self.cost is None else str(self.cost)
        summary = f"{counts['ok']} ok, {counts['warn']} to note, {counts['fail']} failed."
        return "\n".join([*map(str, self.findings), "", cost, "", summary])


def _wrapped(head: str, text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )


def lines(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Format a title and a paragraph for each name."""
    return "\n".join([title, *(_wrapped(f"  {name:11} ", text) for name, text in rows)])


def some(names: list[str], limit: int = 5) -> str:
    """Join the first names of a list, and count the rest."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
