"""Draw LDS of the largest scores and of the rest, from results of `creditline research scores`.

    python tools/top_scores_figure.py runs/benchmark-icons runs/benchmark-cifar2-small \\
        --out docs/assets/top_scores.png

The folders are those of the benchmarks. Upper row: LDS of the part above the split (solid) and of
the rest (dashed). Lower row: correlation of the rest's predictions with those from fresh noise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLORS = {"d-trak": "#0b6e4f", "trak": "#c8553d", "datamodel": "#6b7280"}
QUERIES = ("validation", "generated")


def entries(folder: Path, timesteps: int, queries: str) -> Iterator[dict[str, Any]]:
    """Yield the judged methods of one set of queries; subset methods once."""
    for path in sorted((folder / "scores").glob("*.json")):
        result = json.loads(path.read_text("utf-8"))
        part = next(p for p in result["groups"] if p["name"] == queries)
        for entry in part["methods"]:
            matches = result["timesteps"] == timesteps or entry["method"] == "datamodel"
            if matches and entry["method"] in COLORS:
                yield entry


def draw(folders: list[Path], timesteps: int, out: Path) -> None:
    """Draw one column for every benchmark and set of queries."""
    columns = [(folder, queries) for folder in folders for queries in QUERIES]
    figure, axes = plt.subplots(
        2, len(columns), figsize=(3.4 * len(columns), 5.4), sharex=True, sharey="row", squeeze=False
    )
    for column, (folder, queries) in enumerate(columns):
        upper, lower = axes[:, column]
        for entry in entries(folder, timesteps, queries):
            color = COLORS[entry["method"]]
            for side, style in (("top", "-"), ("rest", "--")):
                points = [(s["share"], s[side]) for s in entry["top_scores"] if side in s]
                label = f"{entry['title']}, above (rest: dashed)" if side == "top" else None
                shares = [100 * share for share, _ in points]
                upper.plot(
                    shares, [100 * v["lds"] for _, v in points], style, color=color, label=label
                )
                if side == "rest" and all("reliability" in v for _, v in points):
                    lower.plot(shares, [v["reliability"] for _, v in points], style, color=color)
        upper.set_title(f"{folder.name.removeprefix('benchmark-')}, {queries}", fontsize=10)
        upper.axhline(0, color="#d1d5db", linewidth=0.8, zorder=0)
        lower.set_ylim(0, 1.02)
        lower.set_xscale("log")
        lower.set_xticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
        lower.minorticks_off()
        lower.set_xlabel("training images above the split, %")
    axes[0, 0].set_ylabel("LDS, %")
    axes[1, 0].set_ylabel("rest, with fresh noise")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[1, 0].legend(handles, labels, frameon=False, fontsize=8, loc="lower left")
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    print(f"{out}: {', '.join(f'{folder.name}' for folder in folders)} at {timesteps} timesteps")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--timesteps", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    draw(options.folders, options.timesteps, options.out)
