"""The report of a trace: one HTML page without network access, scripts or other files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from creditline.errors import NumericsError, SettingsError
from creditline.files import write_file
from creditline.records import TraceRecord
from creditline.report import figures, sentences
from creditline.report.text import text_for
from creditline.report.training_images import image_key, training_images
from creditline.report.veil import veil

COLORS = 5  # groups with a color of their own; style.css defines them
FIRST_HITS = 10  # visible at once on each side; further ones unfold
FIRST_IMAGES, FIRST_PLACES, FIRST_VALUES = 48, 12, 8  # as well: training images, and of each one
FRAGMENT_QUERIES, FRAGMENT_HITS = 8, 6


def render(trace: TraceRecord) -> str:
    """Return the page as text.

    Raises:
        SettingsError: if the trace has no query.
        DataError: if one of its images is not PNG.
    """
    if not trace.queries:
        raise SettingsError(
            "A report needs at least one query image; the trace has none. Trace an image first."
        )
    return _environment().get_template("page.html.j2").render(_context(trace))


def write(trace: TraceRecord, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write the page to `path` (UTF-8) and return the path.

    Raises:
        SettingsError: if the file exists and `overwrite` is False, or the trace has no query.
        DataError: if one of its images is not PNG.
    """
    text = render(trace)
    return write_file(path, lambda draft: draft.write_text(text, "utf-8"), overwrite=overwrite)


def fragment(trace: TraceRecord) -> str:
    """Return short HTML for a notebook: each query image with its first proponents."""
    template = _environment().get_template("fragment.html.j2")
    return template.render(_context(trace), queries=FRAGMENT_QUERIES, hits=FRAGMENT_HITS)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("creditline.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clean=figures.clean,
        shorten=figures.shorten,
        percent=figures.percent,
        between=figures.between,
        uri=figures.data_uri,
        flat=lambda values: list(_flat(values)),
    )
    return environment


def _require_finite(trace: TraceRecord) -> None:
    """Refuse a trace with numbers that no axis can show.

    Raises:
        NumericsError: naming the query image.
    """
    for query in trace:
        hits = (*query.proponents, *query.opponents)
        totals = [total for column in query.totals.values() for total in column]
        numbers = [query.mean, query.std, *(hit.score for hit in hits), *(hit.z for hit in hits)]
        numbers += [x for total in totals for x in (total.score, total.credit, total.share)]
        if not all(map(math.isfinite, numbers)):
            raise NumericsError(
                f"{query.name} has a score or a total that is not finite, so there is no report. "
                "Trace the image again."
            )


def _context(trace: TraceRecord) -> dict[str, Any]:
    _require_finite(trace)
    count = len(trace)
    text = text_for(trace.method)
    overall = {column: trace.overall(column) for column in trace.columns}
    colors = {column: _colors(overall[column]) for column in trace.columns}
    images = training_images(trace)
    heading = text.heading_one if count == 1 else text.heading_many.format(count=count)
    subject = "This image" if count == 1 else f"{count} images"

    def table(column: str, position: int | None = None) -> figures.GroupTable | None:
        totals = overall[column] if position is None else trace[position].totals[column]
        return figures.group_table(totals, trace.n_train, colors[column])

    strip = next((column for column in trace.columns if len(colors[column]) > 1), None)
    return {
        "trace": trace,
        "text": text,
        "heading": heading,
        "lead": text.lead.format(subject=subject, n=trace.n_train, method=trace.method.title),
        "answer": sentences.answer(trace),
        "sizes": sorted({figures.size(png) for png in _images(trace)}),
        "small": figures.SMALL,
        "display_width": figures.display_width,
        "dimensions": figures.size,
        "size_class": lambda png: "s{}x{}".format(*figures.size(png)),
        "axis": figures.query_axis,
        "whisker": figures.whisker,
        "table": table,
        "strip": strip,
        "others": strip and any(total.name not in colors[strip] for total in overall[strip]),
        "colors": colors,
        "credit_line": lambda position: sentences.credit_line(trace, position),
        "veil": veil,
        "removal_label": lambda removal: sentences.removal_label(removal, trace.method),
        "region_note": sentences.region_note,
        "evidence": lambda position: sentences.evidence(trace, position),
        "floor": any(query.error is not None for query in trace),
        "contributors": any(hit.contributor for query in trace for hit in query.proponents),
        "caption": sentences.caption,
        "distance": figures.signed,
        "first_hits": FIRST_HITS,
        "training_images": list(images.values()),
        "number": lambda hit: images[image_key(hit)].number,
        "compact": count == 1 and not any(image.hit.columns for image in images.values()),
        "first_images": FIRST_IMAGES,
        "first_places": FIRST_PLACES,
        "first_values": FIRST_VALUES,
    }


def _images(trace: TraceRecord) -> Iterator[bytes]:
    for query in trace:
        yield query.image
        for hit in (*query.proponents, *query.opponents):
            yield hit.image
        for removal in query.removals:
            yield removal.image


def _colors(totals: tuple) -> dict[str | None, str]:
    """Assign a CSS class to each of the first named groups, in the order of the report."""
    named = [total.name for total in totals if total.name is not None and total.share > 0]
    return {name: f"c{i}" for i, name in enumerate(named[:COLORS])}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every leaf of nested settings; nested names are joined by dots."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(str(item) for item in value) or "none"
        else:
            yield name, "none" if value is None else str(value)
