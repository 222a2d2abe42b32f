"""What sends a request once, whether by connections of our own or through a proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

CONNECT_SECONDS = 2.0
"""How long one attempt may take to connect."""

KEPT_SECONDS = 30.0
"""How long an unused connection is kept: less than the server keeps its end."""

MOST_KEPT = 64
"""Unused connections that are kept."""


class UnconnectedError(OSError):
    """A request failed before any of it was sent. Its cause says why."""


class ClosedError(UnconnectedError):
    """The connections were closed, for good."""

    def __init__(self) -> None:
        super().__init__("the connections were closed")


class Connections(Protocol):
    """The connections of this process to one server, by which requests are sent once."""

    def ask(self, target: str, body: bytes | None, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
        """Send a request.

        Args:
            target: appended to the path of the server's URL.
            body: of a POST; None for a GET.
            headers: of this request, besides those of every one.
            seconds: within which there must be an answer.

        Returns:
            The status and the body of the answer.

        Raises:
            ClosedError: they were closed.
            UnconnectedError: it could not be sent.
            OSError: it has no answer, or none in time (``TimeoutError``).
        """

    def close(self) -> None:
        """Close them, for good."""

    def forget(self) -> None:
        """Leave them to the parent, in a forked child, for good."""
