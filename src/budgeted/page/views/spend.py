"""What was spent over time: a chart, and its numbers."""

from __future__ import annotations

from typing import Final

from budgeted.manager.budget_manager import BudgetManager
from budgeted.page.asking import Asked, Drawn, Shown
from budgeted.page.spend_over_time import PERIODS, Period, SpendOverTime, check_period
from budgeted.validation import TAG

MOST_TAGS: Final = 20
"""Tags that are offered to choose from; any other can be named in the address."""

PATH: Final = "/page/spend"

_WRITTEN: Final[dict[Period, str]] = {"hour": "%d %b %H:%M", "day": "%d %b %Y", "month": "%b %Y"}

_LAST: Final[dict[Period, str]] = {
    "hour": "the last 48 hours",
    "day": "the last 30 days",
    "month": "the last 12 months",
}


def show(asked: Asked) -> Shown:
    """The chart, with its numbers below."""
    spend = _spend(asked)
    asked.spending.watch(asked.books, spend.by)  # so that its hours are known, once somebody asks for them
    headings = ["model", "user", "provider", *(f"{TAG}{name}" for name in known_tags(asked.books))]
    form = _WRITTEN[spend.period]
    rows = [
        (start.strftime(form), total, *(line.amounts[i] for line in spend.series))
        for i, (start, total) in enumerate(zip(spend.starts, spend.totals, strict=True))
    ]
    data = {
        "spend": spend,
        "headings": [(by, asked.link(PATH, by=by, per=spend.period), by == spend.by) for by in headings],
        "periods": [(per, asked.link(PATH, by=spend.by, per=per), per == spend.period) for per in PERIODS],
        "last": _LAST[spend.period],
        # Another picture has another address: so it is drawn anew where the page is replaced while it is looked at.
        "version": f"{hash((spend.starts, spend.series)) & 0xFFFFFFFF:08x}",
        "rows": rows[::-1],
    }
    return Shown("spend.html", "Spend", data)


def draw(asked: Asked) -> Drawn:
    """The chart alone, as SVG."""
    from budgeted.page.charts import spend_chart

    return Drawn(spend_chart(_spend(asked), small="small" in asked.query), "image/svg+xml")


def known_tags(books: BudgetManager) -> list[str]:
    """The names of the tags that anything was charged to, in order; as many as are offered."""
    names: list[str] = []
    after: str | None = None
    while len(names) < MOST_TAGS:
        found = books.accounts(TAG, after, 1)
        if not found:
            break
        name = found[0].name.removeprefix(TAG).partition("=")[0]
        names.append(name)
        after = f"{TAG}{name}>"  # comes behind all values of this tag
    return names


def _spend(asked: Asked) -> SpendOverTime:
    by, period = asked.query.get("by", "model"), check_period(asked.query.get("per", "day"))
    return asked.spending.of(asked.books, by, period)
