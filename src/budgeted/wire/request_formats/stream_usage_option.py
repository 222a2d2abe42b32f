"""Asking a stream to say what it used, by `stream_options.include_usage`, of endpoints that take that option.

OpenAI's servers say it only when asked (https://platform.openai.com/docs/api-reference/chat/create), and so do most
that speak like them; some refuse the option with a 400. Those are asked once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from budgeted.wire.exception_classification import status_of
from budgeted.wire.request_formats.parameter_coercion import mapping

OPTION = "stream_options"

_NAMES = (OPTION, "include_usage")
_REFUSALS = (400, 422)  # of a server that checks what it is sent against a schema

refusing: set[str] = set()
"""Base URLs of endpoints that refuse the option: they are asked no more."""


def asking(body: Mapping[str, Any], place: str) -> dict[str, Any] | None:
    """The options of a request whose stream is to say what it used; None if it is not to be asked for.

    Args:
        body: the request, by the names that the provider has for its parts.
        place: where it is sent: the base URL.
    """
    given = mapping(body.get(OPTION))
    if given.get("include_usage") is not None or place in refusing:  # a no of the caller's own stands
        return None
    return {**given, "include_usage": True}


def is_refused(error: BaseException) -> bool:
    """Whether a request may have failed because it asked.

    Args:
        error: what it failed with.
    """
    return is_refusal(status_of(error), str(error))


def is_refusal(status: int | None, text: str) -> bool:
    """Whether an answer may refuse the option.

    Args:
        status: of HTTP.
        text: what it says.
    """
    return status in _REFUSALS and any(name in text for name in _NAMES)
