"""What was spent over time, as the numbers that stand beside its picture."""

from __future__ import annotations

from typing import Final

from budgeted.page.spend_over_time import Period, SpendOverTime

_WRITTEN: Final[dict[Period, str]] = {"hour": "%d %b %H:%M", "day": "%d %b %Y", "month": "%b %Y"}


def rows_of(spend: SpendOverTime) -> list[tuple[str | int, ...]]:
    """A line for each period, the last one first: when it was, the total, and what is in each series (nano-USD)."""
    form = _WRITTEN[spend.period]
    amounts = zip(spend.starts, spend.totals, *(line.amounts for line in spend.series), strict=True)
    return [(start.strftime(form), *each) for start, *each in amounts][::-1]


def version_of(spend: SpendOverTime) -> str:
    """What is another one for another picture.

    Within its address, it has the picture be drawn anew where the page is replaced while it is looked at.
    """
    return f"{hash((spend.starts, spend.series)) & 0xFFFFFFFF:08x}"
