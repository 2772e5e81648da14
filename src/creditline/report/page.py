"""The report of a trace: one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from creditline.errors import SettingsError
from creditline.files import write_file
from creditline.report import figures, words
from creditline.report.region import pictured
from creditline.trace import Trace

COLORS = 5  # groups that get a color of their own; style.css has as many
FIRST_HITS = 10  # shown at once on each side; further ones unfold
FRAGMENT_QUERIES, FRAGMENT_HITS = 8, 6


def render(trace: Trace) -> str:
    """The page as text.

    Raises:
        SettingsError: if the trace has no query.
        DataError: if one of its pictures is not PNG.
    """
    if not trace.queries:
        raise SettingsError("A report needs at least one traced picture; the trace has none.")
    return _environment().get_template("page.html.j2").render(_context(trace))


def write(trace: Trace, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write the page to `path` (UTF-8) and return the path.

    Raises:
        SettingsError: if the file exists and `overwrite` is False, or the trace has no query.
        DataError: if one of its pictures is not PNG.
    """
    text = render(trace)
    return write_file(path, lambda draft: draft.write_text(text, "utf-8"), overwrite=overwrite)


def fragment(trace: Trace) -> str:
    """A short piece of HTML for a notebook: each picture with its first proponents."""
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


def _context(trace: Trace) -> dict[str, Any]:
    count = len(trace)
    say = words.words_for(trace)
    overall = {column: trace.overall(column) for column in trace.columns}
    colors = {column: _colors(overall[column]) for column in trace.columns}
    heading = say.heading_one if count == 1 else say.heading_many.format(count=count)
    what = "This picture" if count == 1 else f"{count} pictures"

    def table(column: str, position: int | None = None) -> figures.GroupTable | None:
        totals = overall[column] if position is None else trace[position].totals[column]
        return figures.group_table(totals, trace.n_train, colors[column])

    strip = next((column for column in trace.columns if len(colors[column]) > 1), None)
    return {
        "trace": trace,
        "say": say,
        "heading": heading,
        "lead": say.lead.format(what=what, n=trace.n_train, method=trace.method.title),
        "sizes": sorted({figures.size(png) for png in _pictures(trace)}),
        "small": figures.SMALL,
        "shown_width": figures.shown_width,
        "dimensions": figures.size,
        "size_class": lambda png: "s{}x{}".format(*figures.size(png)),
        "axis": figures.query_axis,
        "whisker": figures.whisker,
        "table": table,
        "strip": strip,
        "others": strip and any(total.name not in colors[strip] for total in overall[strip]),
        "colors": colors,
        "credit_line": lambda position: words.credit_line(trace, position),
        "pictured": pictured,
        "region_note": words.region_note,
        "evidence": lambda position: words.evidence(trace, position),
        "floor": any(query.error is not None for query in trace),
        "contributors": any(hit.contributor for query in trace for hit in query.proponents),
        "caption": words.caption,
        "distance": figures.signed,
        "first_hits": FIRST_HITS,
    }


def _pictures(trace: Trace) -> Iterator[bytes]:
    for query in trace:
        yield query.image
        for hit in (*query.proponents, *query.opponents):
            yield hit.image


def _colors(totals: tuple) -> dict[str | None, str]:
    """A CSS class for each of the first named groups; the order is that of the whole report."""
    named = [total.name for total in totals if total.name is not None and total.share > 0]
    return {name: f"c{i}" for i, name in enumerate(named[:COLORS])}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(name, text) for every leaf of nested settings; names of nested ones are joined by dots."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(str(item) for item in value) or "none"
        else:
            yield name, "none" if value is None else str(value)
