"""Making HTML of templates: all text is escaped, amounts are written for a glance, and times for the reader's zone."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping

import jinja2
from markupsafe import Markup

from budgeted.money import NANO, format_usd, short_usd
from budgeted.units import amount_text, short_amount


@functools.cache
def environment() -> jinja2.Environment:
    """The templates, read once."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("budgeted.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(short=short, exact=exact, when=when, percent=percent)
    made.filters.update(short_nano=short_usd, exact_nano=format_usd)
    return made


def render(template: str, data: Mapping[str, object]) -> str:
    """A template with its data, as HTML."""
    return environment().get_template(template).render(data)


def short(value: float | None, unit: str = "usd") -> str:
    """An amount for a glance.

    Args:
        value: in USD, or in the unit itself; None for no amount.
        unit: one of a limit's.
    """
    return "-" if value is None else short_amount(_whole(value, unit), unit)


def exact(value: float | None, unit: str = "usd") -> str:
    """An amount, to the nano-dollar."""
    return "-" if value is None else amount_text(_whole(value, unit), unit)


def when(at: dt.datetime | None, nothing: str = "-") -> Markup:
    """A time, which the page's script writes in the reader's zone; in its own where there is no script."""
    if at is None:
        return Markup("{}").format(nothing)
    text = at.strftime("%Y-%m-%d %H:%M %Z").strip()
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), text)


def percent(part: float, whole: float | None) -> str:
    """A share of a whole as a number from 0 to 100, for the width of a bar."""
    if not whole:
        return "100" if part > 0 else "0"
    return f"{min(100.0, max(0.0, 100 * part / whole)):.4g}"


def _whole(value: float, unit: str) -> int:
    return round(value * NANO) if unit == "usd" else round(value)
