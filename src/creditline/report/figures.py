"""Values as the report draws them: numbers as text, bars as percentages, images as data URIs."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from creditline.credit.totals import Total, chance_intervals
from creditline.errors import DataError
from creditline.records import NOISE_FLOOR, Hit, QueryTrace

SMALL = 96  # images with a longer side below this are pixelated instead of blurred
MAX_GROUPS = 12
PNG = b"\x89PNG\r\n\x1a\n"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Directional overrides and other controls could make one name disguise another.
_CONTROLS = dict.fromkeys([*range(0x20), 0x7F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], " ")


def clean(text: str) -> str:
    """Put the text on one line, without control characters."""
    return " ".join(text.translate(_CONTROLS).split())


def shorten(text: str, limit: int = 72) -> str:
    """Leave out the middle of a text that is longer than `limit` characters."""
    text = clean(text)
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[:half].rstrip()}…{text[-half:].lstrip()}"


def percent(share: float) -> str:
    """Format a share in [0, 1] as whole percents; a positive one never reads as zero."""
    if 0 < share < 0.005:
        return "under 1 %"
    return f"{100 * share:.0f} %"


def between(interval: tuple[float, float]) -> str:
    """Format an interval of shares in whole percents."""
    low, high = interval
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def signed(value: float, decimals: int) -> str:
    """Format a number with its sign, a true minus, and no sign where it rounds to zero."""
    text = f"{abs(value):.{decimals}f}"
    if not float(text):
        return text
    return ("+" if value > 0 else "−") + text


def data_uri(png: bytes) -> str:
    """Return the image as a `data:` URI.

    Raises:
        DataError: if the bytes are not a PNG file.
    """
    size(png)
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def size(png: bytes) -> tuple[int, int]:
    """Read width and height in pixels from the file's header.

    Raises:
        DataError: if the bytes are not a PNG file.
    """
    if not png.startswith(PNG) or len(png) < 24:
        raise DataError(
            f"The report embeds images as PNG; got {len(png)} bytes starting with {png[:8]!r}. "
            "Encode the image as PNG."
        )
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def display_width(width: int, height: int, box: int) -> int:
    """Return the CSS width of an image in a square box; small images scale by an integer."""
    longer = max(width, height)
    factor = box // longer if longer < SMALL and longer <= box else box / longer
    return max(1, round(width * factor))


@dataclass(frozen=True)
class ChartAxis:
    """One scale for all bars that are to be compared; `low` <= 0 <= `high`.

    `zero` is the position of 0, in percent of the width.
    """

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float]) -> ChartAxis:
        """Return the shortest axis that contains 0 and every value."""
        values = [0.0, *values]
        low, high = min(values), max(values)
        return cls(low, high if high > low else low + 1.0)

    @property
    def zero(self) -> float:
        return round(-100 * self.low / (self.high - self.low), 1)

    def bar(self, value: float) -> tuple[float, float]:
        """Return (left, width) in percent of a bar between 0 and `value`."""
        extent = 100 / (self.high - self.low)
        return round((min(value, 0.0) - self.low) * extent, 1), round(abs(value) * extent, 1)

    def span(self, low: float, high: float) -> tuple[float, float]:
        """Return (left, width) in percent between two values, cut at the ends of the axis."""
        extent = 100 / (self.high - self.low)
        low, high = max(low, self.low), min(high, self.high)
        return round((low - self.low) * extent, 1), round(max(high - low, 0.0) * extent, 1)

    def number(self, value: float) -> str:
        """Format the value with its sign and the decimals that give the axis three digits."""
        exponent = math.floor(math.log10(max(-self.low, self.high)))
        if -4 <= exponent <= 5:
            return signed(value, max(0, 2 - exponent))
        power = str(exponent).translate(_SUPERSCRIPTS)
        return f"{signed(value / 10.0**exponent, 2)}×10{power}"


def query_axis(query: QueryTrace) -> ChartAxis:
    """Return the common axis of all listed scores of one query."""
    return ChartAxis.over(hit.score for hit in (*query.proponents, *query.opponents))


def whisker(axis: ChartAxis, hit: Hit) -> tuple[float, float]:
    """Return (left, width) in percent of `NOISE_FLOOR` standard errors around a score."""
    reach = NOISE_FLOOR * (hit.error or 0.0)
    return axis.span(hit.score - reach, hit.score + reach)


@dataclass(frozen=True)
class GroupRow:
    """A row of the totals: one group, or all small groups merged (drawn without bars)."""

    name: str
    known: bool
    merged: bool
    n: int
    share: float
    of_training: float
    score: float
    top: int
    color: str
    interval: tuple[float, float] | None = None
    chance: tuple[float, float] | None = None

    @property
    def per_image(self) -> str:
        """Share of the credit divided by share of the training images: 1× is an average image."""
        return f"{self.share / self.of_training:.1f}×" if self.of_training else "–"


@dataclass(frozen=True)
class GroupTable:
    """The totals of one metadata column, on common axes."""

    rows: tuple[GroupRow, ...]
    shares: ChartAxis
    sums: ChartAxis

    @property
    def by_chance(self) -> bool:
        """Whether it is known what chance would give."""
        return any(row.chance is not None for row in self.rows)


def group_table(
    totals: Sequence[Total], n_train: int, colors: dict[str | None, str]
) -> GroupTable | None:
    """Prepare totals as rows to draw; None where no group is known.

    Args:
        totals: largest share first; those after the first dozen are merged into one row.
        n_train: number of training images.
        colors: CSS class by group; others are gray.
    """
    if not any(total.name is not None for total in totals):
        return None
    many = len(totals) > MAX_GROUPS + 1
    first, rest = (totals[:MAX_GROUPS], totals[MAX_GROUPS:]) if many else (totals, ())
    chances = chance_intervals(totals)
    rows = [
        _row(total, n_train, colors.get(total.name, "cx"), chance)
        for total, chance in zip(first, chances, strict=False)
    ]
    if rest:
        others = Total(
            name=f"{len(rest):,} others",
            n=sum(total.n for total in rest),
            score=sum(total.score for total in rest),
            credit=sum(total.credit for total in rest),
            share=sum(total.share for total in rest),
            top=sum(total.top for total in rest),
        )
        rows.append(_row(others, n_train, "cx", merged=True))
    single = [row for row in rows if not row.merged]
    return GroupTable(
        rows=tuple(rows),
        shares=ChartAxis.over(
            part
            for row in single
            for part in (row.share, row.of_training, *(row.interval or ()), *(row.chance or ()))
        ),
        sums=ChartAxis.over(row.score for row in single),
    )


def _row(
    total: Total,
    n_train: int,
    color: str,
    chance: tuple[float, float] | None = None,
    merged: bool = False,
) -> GroupRow:
    return GroupRow(
        name="unknown" if total.name is None else clean(total.name),
        known=total.name is not None,
        merged=merged,
        n=total.n,
        share=total.share,
        of_training=total.n / n_train,
        score=total.score,
        top=total.top,
        color=color,
        interval=total.share_interval,
        chance=chance,
    )
