"""How a gateway is set up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from budgeted.gateway import setting_checks
from budgeted.limits.limit import Limit
from budgeted.manager.environment import HIDDEN


class UpstreamSettings(msgspec.Struct, frozen=True):
    """Where an upstream is, and what it is sent besides a request.

    Args:
        url: its address, as its SDK takes it for a base URL.
        key_env: the variable that has its key; "" for the usual ones of its name.
        headers: that each request to it gets, instead of the caller's own of these names.
    """

    url: str
    key_env: str = ""
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self.url!r}, key_env={self.key_env!r}, headers={sorted(self.headers)!r})"


class GatewaySettings(msgspec.Struct, kw_only=True, frozen=True):
    """What a gateway forwards, and for whom.

    Args:
        upstreams: addresses by name, as their SDKs take base URLs: of the providers that are known instead of their
            own, others beside them.
        open: whether whoever can reach it may ask, and says itself who pays; else keys are wanted.
        models: patterns of the models that anybody may ask for; none of them for any.
        free: what is sent on of that which costs nothing, with the gateway's own keys: ``"few"``, to list models and to
            count tokens; ``"all"``, also files, batches' results and whatever else a provider keeps.
        headers: whether answers tell what was spent, and what is left.
        max_body: bytes that a request may have.
        connect_seconds: how long a connection to an upstream may take.
        silence_seconds: how long an upstream may send nothing before it is given up.
        metrics_token: who shows it may read ``/metrics`` from elsewhere than this machine; "" for nobody.

    Raises:
        ValueError: one of them makes no sense; the text quotes it, unless it may be a secret.
    """

    upstreams: Mapping[str, str | UpstreamSettings] = {}
    open: bool = False
    models: tuple[str, ...] = ()
    free: Literal["few", "all"] = "few"
    headers: bool = False
    max_body: int = 64 * 2**20
    connect_seconds: float = 10.0
    silence_seconds: float = 600.0
    metrics_token: str = ""

    def __post_init__(self) -> None:
        _check(self, "upstreams")  # which are looked at where their names are known

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Without the token: what is printed may end in a log."""
        hidden = {"metrics_token": HIDDEN} if self.metrics_token else {}
        return list({**msgspec.structs.asdict(self), **hidden}.items())


class ListenSettings(msgspec.Struct, kw_only=True, frozen=True):
    """Where ``budgeted gateway`` listens, and what connections may take of it.

    Args:
        host: a name or an address of this machine.
        port: 0 for any that is free.
        workers: how many processes serve.
        access_log: whether each request is told in the log.
        header_seconds: how long the headers of a request may take to arrive.
        body_seconds: how long its body may take after them.
        unread_seconds: how long bytes of an answer may wait for whoever asked to read them.
        grace_seconds: how long requests under way may take when the gateway is told to stop.
        max_connections: how many there may be, of each process.
        max_connections_per_address: how many of them one address may have.
        trusted_proxies: addresses or networks of proxies whose ``X-Forwarded-For`` is believed.

    Raises:
        ValueError: one of them makes no sense; the text quotes it.
    """

    host: str = "127.0.0.1"
    port: int = 8788
    workers: int = 1
    access_log: bool = False
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    unread_seconds: float = 60.0
    grace_seconds: float = 30.0
    max_connections: int = 4000
    max_connections_per_address: int = 2000
    trusted_proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)


class KeyDefaults(msgspec.Struct, kw_only=True, frozen=True):
    """What ``budgeted keys create`` gives a key where it is not told otherwise.

    Args:
        limit: what may be spent with it.
        expires: when it ends, such as ``"30d"``; "" for never.
        models: patterns of the models that may be asked for with it; none of them for any.

    Raises:
        ValueError: one of them makes no sense; the text quotes it.
    """

    limit: tuple[Limit, ...] = ()
    expires: str = ""
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)


def _check(settings: msgspec.Struct, *but: str) -> None:
    for name, value in msgspec.structs.asdict(settings).items():
        if name not in but:
            setting_checks.checked(name, value)
