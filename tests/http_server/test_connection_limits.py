"""Limits of connections that make no sense are refused when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from budgeted.http_server.connection_limits import ConnectionLimits


@pytest.mark.parametrize(
    "limits",
    [
        {"header_seconds": 0},
        {"body_seconds": float("inf")},
        {"answer_seconds": True},
        {"unread_seconds": "1"},
        {"max_connections": 0},
        {"max_connections_per_address": 1.5},
        {"trusted_proxies": ("proxy.example",)},
        {"trusted_proxies": ("10.0.0.1/8",)},
    ],
)
def test_limits_that_make_no_sense_are_told(limits: dict[str, Any]) -> None:
    [name] = limits
    with pytest.raises(ValueError, match=f"^{name} must be"):
        ConnectionLimits(**limits)


def test_who_never_reads_may_not_be_kept_for_ever() -> None:
    with pytest.raises(ValueError, match="unread_seconds must be given"):
        ConnectionLimits(answer_seconds=None)
    assert ConnectionLimits(answer_seconds=None, unread_seconds=5).longest_unread == 5
    assert ConnectionLimits(answer_seconds=7).longest_unread == 7
