"""How a gateway is set up."""

from __future__ import annotations

from typing import Literal

import msgspec


class GatewaySettings(msgspec.Struct, kw_only=True, frozen=True):
    """What a gateway forwards, and for whom.

    Args:
        upstreams: addresses by name, as their SDKs take base URLs: of the providers that are known instead of their
            own, others beside them.
        open: whether whoever can reach it may ask, and says itself who pays; else keys are wanted.
        unknown: what becomes of a request that is paid for, it seems, and cannot be read: ``"deny"`` refuses it,
            ``"pass"`` sends it on without a charge, and says so.
        free: what is sent on of that which costs nothing, with the gateway's own keys: ``"few"``, to list models and to
            count tokens; ``"all"``, also files, batches' results and whatever else a provider keeps.
        headers: whether answers tell what was spent, and what is left.
        max_body: bytes that a request may have.
        connect_seconds: how long a connection to an upstream may take.
        silence_seconds: how long an upstream may send nothing before it is given up.
    """

    upstreams: dict[str, str] = {}
    open: bool = False
    unknown: Literal["deny", "pass"] = "deny"
    free: Literal["few", "all"] = "few"
    headers: bool = False
    max_body: int = 64 * 2**20
    connect_seconds: float = 10.0
    silence_seconds: float = 600.0
