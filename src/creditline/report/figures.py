"""From values to what is drawn: numbers as text, bars as percentages, pictures as data URIs."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from creditline.errors import DataError
from creditline.totals import Total
from creditline.trace import FLOOR, Hit, QueryTrace

SMALL = 96  # a picture whose longer side is below this many pixels is shown as squares, not blurred
SHOWN_GROUPS = 12
PNG = b"\x89PNG\r\n\x1a\n"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Directional overrides and other controls could make one name disguise another.
_CONTROLS = dict.fromkeys([*range(0x20), 0x7F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], " ")


def clean(text: str) -> str:
    """The text on one line, without control characters."""
    return " ".join(text.translate(_CONTROLS).split())


def shorten(text: str, limit: int = 72) -> str:
    """The text with its middle left out where it is longer than `limit` characters."""
    text = clean(text)
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[:half].rstrip()}…{text[-half:].lstrip()}"


def percent(share: float) -> str:
    """A share in [0, 1] as whole percents; a positive one never reads as nothing."""
    if 0 < share < 0.005:
        return "under 1 %"
    return f"{100 * share:.0f} %"


def between(interval: tuple[float, float]) -> str:
    """An interval of shares in whole percents."""
    low, high = interval
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def signed(value: float, decimals: int) -> str:
    """A number with its sign always shown, a true minus, and no sign where it rounds to zero."""
    text = f"{abs(value):.{decimals}f}"
    if not float(text):
        return text
    return ("+" if value > 0 else "−") + text


def data_uri(png: bytes) -> str:
    """The picture as a `data:` URI.

    Raises:
        DataError: if the bytes are not a PNG file.
    """
    size(png)
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, read from the file's header.

    Raises:
        DataError: if the bytes are not a PNG file.
    """
    if not png.startswith(PNG) or len(png) < 24:
        raise DataError(
            f"The report embeds pictures as PNG; got {len(png)} bytes starting with {png[:8]!r}. "
            "Encode the picture as PNG."
        )
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def shown_width(width: int, height: int, box: int) -> int:
    """CSS pixels at which a picture is shown in a square box; small ones by a whole factor."""
    longer = max(width, height)
    factor = box // longer if longer < SMALL and longer <= box else box / longer
    return max(1, round(width * factor))


@dataclass(frozen=True)
class ChartAxis:
    """One scale for all bars that are to be compared; `low` <= 0 <= `high`.

    `zero` is where 0 lies, in percent of the width.
    """

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float]) -> ChartAxis:
        """The shortest axis that holds 0 and every value."""
        values = [0.0, *values]
        low, high = min(values), max(values)
        return cls(low, high if high > low else low + 1.0)

    @property
    def zero(self) -> float:
        return round(-100 * self.low / (self.high - self.low), 1)

    def bar(self, value: float) -> tuple[float, float]:
        """(left, width) in percent of a bar between 0 and `value`."""
        extent = 100 / (self.high - self.low)
        return round((min(value, 0.0) - self.low) * extent, 1), round(abs(value) * extent, 1)

    def span(self, low: float, high: float) -> tuple[float, float]:
        """(left, width) in percent of what is between two values, cut at the axis's ends."""
        extent = 100 / (self.high - self.low)
        low, high = max(low, self.low), min(high, self.high)
        return round((low - self.low) * extent, 1), round(max(high - low, 0.0) * extent, 1)

    def number(self, value: float) -> str:
        """The value with its sign and as many decimals as give the axis three digits."""
        exponent = math.floor(math.log10(max(-self.low, self.high)))
        if -4 <= exponent <= 5:
            return signed(value, max(0, 2 - exponent))
        power = str(exponent).translate(_SUPERSCRIPTS)
        return f"{signed(value / 10.0**exponent, 2)}×10{power}"


def query_axis(query: QueryTrace) -> ChartAxis:
    """The scale of all scores shown for one query."""
    return ChartAxis.over(hit.score for hit in (*query.proponents, *query.opponents))


def whisker(axis: ChartAxis, hit: Hit) -> tuple[float, float]:
    """(left, width) in percent of all that is within `FLOOR` standard errors of a score."""
    reach = FLOOR * (hit.error or 0.0)
    return axis.span(hit.score - reach, hit.score + reach)


@dataclass(frozen=True)
class GroupRow:
    """A line of the totals: one group, or the small ones gathered (drawn without bars)."""

    name: str
    known: bool
    gathered: bool
    n: int
    share: float
    of_training: float
    score: float
    top: int
    color: str
    interval: tuple[float, float] | None = None

    @property
    def per_image(self) -> str:
        """Share of the credit over share of the training images: 1× is an average image."""
        return f"{self.share / self.of_training:.1f}×" if self.of_training else "–"


@dataclass(frozen=True)
class GroupTable:
    """The totals of one column, on common scales."""

    rows: tuple[GroupRow, ...]
    shares: ChartAxis
    sums: ChartAxis


def group_table(
    totals: Sequence[Total], n_train: int, colors: dict[str | None, str]
) -> GroupTable | None:
    """Totals as lines to draw, or None where no group is known.

    Args:
        totals: largest share first; beyond the first dozen they are gathered in one line.
        n_train: training images in all.
        colors: CSS class of each group; others are gray.
    """
    if not any(total.name is not None for total in totals):
        return None
    many = len(totals) > SHOWN_GROUPS + 1
    shown, rest = (totals[:SHOWN_GROUPS], totals[SHOWN_GROUPS:]) if many else (totals, ())
    rows = [_row(total, n_train, colors.get(total.name, "cx")) for total in shown]
    if rest:
        gathered = Total(
            name=f"{len(rest):,} others",
            n=sum(total.n for total in rest),
            score=sum(total.score for total in rest),
            credit=sum(total.credit for total in rest),
            share=sum(total.share for total in rest),
            top=sum(total.top for total in rest),
        )
        rows.append(_row(gathered, n_train, "cx", gathered=True))
    drawn = [row for row in rows if not row.gathered]
    return GroupTable(
        rows=tuple(rows),
        shares=ChartAxis.over(part for row in drawn for part in (row.share, row.of_training)),
        sums=ChartAxis.over(row.score for row in drawn),
    )


def _row(total: Total, n_train: int, color: str, gathered: bool = False) -> GroupRow:
    return GroupRow(
        name="not known" if total.name is None else clean(total.name),
        known=total.name is not None,
        gathered=gathered,
        n=total.n,
        share=total.share,
        of_training=total.n / n_train,
        score=total.score,
        top=total.top,
        color=color,
        interval=total.share_interval,
    )
