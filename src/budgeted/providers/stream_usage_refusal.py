"""Endpoints that refuse to be asked for what a stream uses."""

from __future__ import annotations

import logging

from budgeted.telemetry.log_throttling import say
from budgeted.wire.request_formats import stream_usage_option


def note_refusing(place: str) -> None:
    """Ask no later request to this place: one that did failed, and the same without was answered.

    Args:
        place: where it was sent: the base URL.
    """
    if place not in stream_usage_option.refusing:
        stream_usage_option.refusing.add(place)
        text = "budgeted: %s refuses %s, so its streams are charged by the text that comes"
        say(logging.WARNING, text, (place, stream_usage_option.OPTION), {})
