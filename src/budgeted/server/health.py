"""Whether a server and its ledger are there, for load balancers and whoever watches."""

from __future__ import annotations

from typing import Final

import msgspec

LIVE: Final = "/health/live"

PATHS: Final = {
    "/health": "Whether the ledger can be reached",
    LIVE: "Whether the server is there, whatever its ledger does",
    "/health/ready": "The same as `/health`",
}


class Health(msgspec.Struct, omit_defaults=True):
    """How a server is.

    Args:
        status: `ok`, or `unavailable`, with 503.
        ledger: `reachable`, or what is wrong with it; left out where it was not looked at.
    """

    status: str
    ledger: str = ""
