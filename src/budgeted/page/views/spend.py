"""What was spent over time: a chart, and its numbers."""

from __future__ import annotations

from typing import Final

from budgeted.manager.budget_manager import BudgetManager
from budgeted.page.asking import Asked, Drawn, FormError, Shown
from budgeted.page.spend_over_time import PERIODS, Period, check_period
from budgeted.page.views.spend_figures import rows_of, version_of
from budgeted.validation import TAG

MOST_TAGS: Final = 20
"""Tags that are offered to choose from; any other can be named in the address."""

PATH: Final = "/page/spend"

_LAST: Final[dict[Period, str]] = {
    "hour": "the last 48 hours",
    "day": "the last 30 days",
    "month": "the last 12 months",
}


def show(asked: Asked) -> Shown:
    """The chart, with its numbers below."""
    by, period = _wanted(asked)
    spend = asked.spending.of(asked.project, by, period)
    asked.spending.watch(asked.project, by)  # so that its hours are known, once somebody asks for them
    headings = ["model", "user", "provider", *(f"{TAG}{name}" for name in known_tags(asked.books))]
    data = {
        "spend": spend,
        "by": by,
        "period": period,
        "headings": [(one, asked.link(PATH, by=one, per=period), one == by) for one in headings],
        "periods": [(one, asked.link(PATH, by=by, per=one), one == period) for one in PERIODS],
        "last": _LAST[period],
        "version": "" if spend is None else version_of(spend),
        "rows": [] if spend is None else rows_of(spend),
    }
    return Shown("spend.html", "Spend", data)


def draw(asked: Asked) -> Drawn:
    """The chart alone, as SVG."""
    from budgeted.page.charts import spend_chart

    spend = asked.spending.of(asked.project, *_wanted(asked))
    if spend is None:
        msg = "this is still being added up"
        raise FormError(msg)
    return Drawn(spend_chart(spend, small="small" in asked.query), "image/svg+xml")


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


def _wanted(asked: Asked) -> tuple[str, Period]:
    """What is told apart, and per what."""
    return asked.query.get("by", "model"), check_period(asked.query.get("per", "day"))
