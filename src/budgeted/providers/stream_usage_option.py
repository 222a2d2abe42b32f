"""Asking a stream to say what it used, by `stream_options.include_usage`, of endpoints that take that option.

OpenAI's servers say it only when asked (https://platform.openai.com/docs/api-reference/chat/create), and so do most
that speak like them; some refuse the option with a 400. Those are asked once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from budgeted.providers.parameter_coercion import mapping
from budgeted.telemetry.log_throttling import say
from budgeted.wire.exception_classification import status_of

OPTION = "stream_options"

_NAMES = (OPTION, "include_usage")
_REFUSALS = (400, 422)  # of a server that checks what it is sent against a schema
_refusing: set[str] = set()


def asking(body: Mapping[str, Any], place: str) -> dict[str, Any] | None:
    """The options of a request whose stream is to say what it used; None if it is not to be asked for.

    Args:
        body: the request, by the names that the provider has for its parts.
        place: where it is sent: the base URL.
    """
    given = mapping(body.get(OPTION))
    if given.get("include_usage") is not None or place in _refusing:  # a no of the caller's own stands
        return None
    return {**given, "include_usage": True}


def is_refused(error: BaseException) -> bool:
    """Whether a request may have failed because it asked.

    Args:
        error: what it failed with.
    """
    return status_of(error) in _REFUSALS and any(name in str(error) for name in _NAMES)


def note_refusing(place: str) -> None:
    """Ask no later request to this place: one that did failed, and the same without was answered.

    Args:
        place: where it was sent.
    """
    if place not in _refusing:
        _refusing.add(place)
        text = "budgeted: %s refuses %s, so its streams are charged by the text that comes"
        say(logging.WARNING, text, (place, OPTION), {})
