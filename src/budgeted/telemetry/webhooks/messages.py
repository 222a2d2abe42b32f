"""What is sent of an event: a JSON object of all that is known, or a sentence in Slack's format."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from budgeted.telemetry.events import Event
from budgeted.telemetry.webhooks.destinations import Destination

SCHEMA: Final = "budgeted.event/1"

_SLACK_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""With these, whatever a user is called, nobody is linked or rung for."""


def body_of(event: Event, id: str, destination: Destination) -> bytes:
    """What is sent of an event.

    Args:
        event: what happened.
        id: by which a receiver knows it again.
        destination: where to.
    """
    if destination.hashed:
        event = dataclasses.replace(event, account=_hashed(event))
    if destination.format == "slack":
        text = sentence(event).translate(_SLACK_ESCAPES)
        return _encoded({"text": text, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False})
    fields: dict[str, object] = {"schema": SCHEMA, "id": id}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        # What is empty says nothing of this event; an amount of 0 does.
        if value is not None and value != "":
            fields[field.name] = value.isoformat() if isinstance(value, dt.datetime) else value
    return _encoded({**fields, "text": sentence(event)})


def _encoded(fields: Mapping[str, object]) -> bytes:
    """Fields as JSON, whatever is in them: who reports an event must not fail over it."""
    # A reason may quote a file's name, which need not be text.
    readable = {
        name: value.encode(errors="replace").decode() if isinstance(value, str) else value
        for name, value in fields.items()
    }
    return msgspec.json.encode(readable, enc_hook=str)


def sentence(event: Event) -> str:
    """An event in words, with the name of who it is about."""
    who, limit = _who(event), f"{event.limit}{_figures(event)}"
    if event.kind == "alert" and event.threshold is not None:
        said = f"{who} has spent {event.threshold * 100:g}% of {limit}"
        if event.exhausted_at is not None:
            said += f"; at the present rate it is reached at {_moment(event.exhausted_at)}"
    elif event.kind == "asked" and event.requested is not None:
        model = f" of {event.model}" if event.model else ""
        said = f"a call{model} for {who} asks for {_amount(event, event.requested)} of {limit}, and waits"
    elif event.kind == "stopped":
        said = f"{who} is stopped: {event.reason}"
    elif event.kind == "resumed":
        said = f"{who} goes on"
    else:
        # A reason is one of ours, "unknown_user", or somebody's own words.
        reason = event.reason if " " in event.reason else event.reason.replace("_", " ")
        cost = "" if event.cost is None else f"charged {_usd(event.cost)}"
        told = ", ".join(one for one in (event.model, limit, reason, cost) if one)
        said = f"{event.kind}: {who}{': ' if told else ''}{told}"
    return f"{event.project}: {said}" if event.project else said


def _who(event: Event) -> str:
    if event.account_kind == "global":
        return "the global budget"
    kinds = {"user": "user ", "block": "block "}
    return f"{kinds.get(event.account_kind, '')}{event.account}" if event.account else "nobody in particular"


def _figures(event: Event) -> str:
    """What is spent and left of a limit, in brackets."""
    found = []
    if event.spent is not None and event.amount is not None:
        found.append(f"{_amount(event, event.spent)} of {_amount(event, event.amount)} spent")
    if event.remaining is not None:
        found.append(f"{_amount(event, event.remaining)} left")
    if event.resets_at is not None:
        found.append(f"until {_moment(event.resets_at)}")
    return f" ({', '.join(found)})" if found else ""


def _amount(event: Event, amount: float) -> str:
    if event.unit != "usd":
        return f"{amount:,.0f} {event.unit}"
    return _usd(amount)


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.9f}".rstrip("0")


def _moment(at: dt.datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} {at.tzname() or ''}".strip()


def _hashed(event: Event) -> str:
    """The name of an event's account as one who does not know it cannot tell."""
    if event.account_kind in ("", "global"):
        return event.account
    return hashlib.sha256(event.account.encode(errors="replace")).hexdigest()[:16]
