"""What goes on in a project, a line each: calls that wait, calls in flight, and the last that were refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from rich.text import Text

from budgeted.cli.bars import NEARLY, REFUSED
from budgeted.cli.table_cells import Amount, marked, spelt_out
from budgeted.manager.activity import Activity, CallInFlight, RefusedCall


def event_lines(activity: Activity, now: dt.datetime, room: int) -> list[Text]:
    """As many lines as there is room for: of each kind a third at least, if there are as many.

    Args:
        activity: what goes on.
        now: when that was looked at.
        room: how many lines.
    """
    kinds = [
        [*_waiting(activity, now)],
        [_in_flight(one, now) for one in activity.in_flight],
        [_refused(one, now) for one in activity.refusals],
    ]
    shares = [0] * len(kinds)
    for _ in range(room):
        open_kinds = [kind for kind, lines in enumerate(kinds) if shares[kind] < len(lines)]
        if not open_kinds:
            break
        shares[min(open_kinds, key=shares.__getitem__)] += 1
    lines = [line for kind, share in zip(kinds, shares, strict=True) for line in kind[:share]]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def _waiting(activity: Activity, now: dt.datetime) -> Iterator[Text]:
    for one in activity.waiting:
        what = "asks for more" if one.asks else "waits"
        yield marked(f"{what} {_for(one.at, now)}  {_call(one)}", NEARLY)


def _refused(one: RefusedCall, now: dt.datetime) -> Text:
    return marked(f"refused {_for(one.at, now)} ago  {_call(one)}", REFUSED)


def _call(one: RefusedCall) -> str:
    """Whose call it is, and what is in its way."""
    parts = [one.account, one.model]
    if one.requested is not None:
        needed, left = (Amount(figure, one.unit).text() for figure in (one.requested, one.remaining))
        parts.append(f"needs {needed}, {left} left of {one.limit}")
    else:
        parts.append(one.limit)
    parts.append({"held": "held by calls in flight", "spent": ""}.get(one.reason, one.reason))
    return "  ".join(filter(None, parts))


def _in_flight(one: CallInFlight, now: dt.datetime) -> Text:
    payers = [name for name in one.accounts if name != "global"]
    told = [f"in flight {_for(one.since, now)}", ", ".join(payers), one.model, f"{Amount(one.held).text()} held"]
    return Text(spelt_out("  ".join(filter(None, told))))


def _for(since: dt.datetime, now: dt.datetime) -> str:
    """How long ago something began, as a glance reads it."""
    seconds = max(0, int((now - since).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
