"""Results of all stages as tables in Markdown and a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from creditline.benchmarks.markdown import table
from creditline.data.contact_sheet import contact_sheet
from creditline.data.load import load_images
from creditline.files import write_file
from creditline.trace import Trace

INDEXES = ("combined", "trak")
QUERIES = {"held-out": "held out", "generated": "generated"}
SCHEMES = {
    "random": ("Random halves: LDS, %", {"": "lds"}),
    "contributor-shares": (
        "Unequal shares: LDS of images and of contributors' totals, %",
        {": images": "lds", ": totals": "totals_per_contributor"},
    ),
}
"""Title and measures of each kind of subsets."""
COLUMNS = 12


def write_results(folder: Path) -> None:
    """Write `results.md` and `sheet.png` from the files of all stages."""
    sections = [
        *(f"## {title}\n\n{_lds(folder, scheme)}" for scheme, (title, _) in SCHEMES.items()),
        f"## Shares of the prompts' contributors, %\n\n{_totals(folder)}",
        f"## CPU minutes\n\n{_cost(folder)}",
    ]
    text = "\n\n".join(sections)
    write_file(folder / "results.md", lambda p: p.write_text(text + "\n", "utf-8"), overwrite=True)
    write_file(folder / "sheet.png", lambda p: _sheet(folder).save(p), overwrite=True)
    print(f"\n{text}\n\n{folder}: results.md, sheet.png, report.html")


def _lds(folder: Path, scheme: str) -> str:
    """Make a row for each method and a column for each set of queries and measure."""
    measures = SCHEMES[scheme][1]
    columns = [(queries, measure) for queries in QUERIES for measure in measures.values()]
    header = [title + about for title in QUERIES.values() for about in measures]
    rows: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}  # baselines without the model
    for index in INDEXES:
        parts = json.loads((folder / f"lds-{scheme}-{index}.json").read_text("utf-8"))["groups"]
        judged = {part["name"]: part for part in parts}
        for queries in QUERIES:
            for method in judged[queries]["methods"]:
                group = below if method["method"].startswith(("pixel", "random")) else rows
                cells = group.setdefault(method["title"], ["–"] * len(columns))
                for measure in measures.values():
                    score = method if measure == "lds" else method[measure]
                    cells[columns.index((queries, measure))] = _percent(score, "lds")
    ceilings = [judged[queries]["ceiling"] for queries, _ in columns]
    last = {
        "seed to seed": [_percent(ceiling, "seed_to_seed") for ceiling in ceilings],
        "second retraining": [f"{100 * ceiling['mean_to_mean']:.1f}" for ceiling in ceilings],
    }
    return table(["", *header], [[title, *cells] for title, cells in (rows | below | last).items()])


def _percent(values: Mapping[str, Any], name: str) -> str:
    low, high = values["interval_over_subsets"]
    return f"{100 * values[name]:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _totals(folder: Path) -> str:
    """Make a row for each contributor of a prompt, with the shares of all contributors."""
    held_out = load_images(folder / "data" / "held-out")
    contributors = dict(zip(held_out.texts, held_out.contributors, strict=True))
    shares: dict[str, list[dict[str, float]]] = {}
    for query in Trace.from_json(folder / "trace.json"):
        totals = {str(total.name): total.share for total in query.totals["contributor"]}
        shares.setdefault(str(contributors[query.text]), []).append(totals)
    people = sorted(shares)
    rows = [
        [by, *(f"{100 * np.mean([each[who] for each in shares[by]]):.0f}" for who in people)]
        for by in people
    ]
    return table(["prompts of", *people], rows)


def _cost(folder: Path) -> str:
    cost = json.loads((folder / "cost.json").read_text("utf-8"))
    rows = [[stage, f"{seconds / 60:.1f}"] for stage, seconds in cost.items()]
    return table(["stage", "minutes"], [*rows, ["all", f"{sum(cost.values()) / 60:.1f}"]])


def _sheet(folder: Path) -> Any:
    """Draw pairs of rows: before tuning, and after it from the same noise and prompts."""
    before, after = (load_images(folder / name) for name in ("before", "generated"))
    held_out = load_images(folder / "data" / "held-out")
    order = sorted(range(len(held_out)), key=lambda i: (str(held_out.contributors[i]), i))
    cells, labels = [], []
    for start in range(0, len(order), COLUMNS):
        for images in (before, after):
            for i in order[start : start + COLUMNS]:
                cells.append(images.image(i))
                labels.append(str(held_out.texts[i]).rpartition(": ")[2])
    return contact_sheet(cells, COLUMNS, 2, labels)
