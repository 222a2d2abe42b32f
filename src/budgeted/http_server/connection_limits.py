"""What connections may take of a server that listens by itself."""

from __future__ import annotations

import ipaddress

import msgspec

from budgeted.validation import shown


class ConnectionLimits(msgspec.Struct, kw_only=True, frozen=True):
    """What connections may take of a server that listens by itself.

    Args:
        header_seconds: how long the headers of a request may take, from the connection or the request's first byte on;
            and a TLS handshake before them.
        body_seconds: how long the body may take after them, without the time in which the application reads none of it.
        answer_seconds: how long it may take from then on until the answer is made. None for as long as it takes, as
            for streams.
        unread_seconds: how long bytes of an answer may lie here until their reader takes them. None for what
            ``answer_seconds`` says.
        max_connections: how many there may be.
        max_connections_per_address: how many of one address: an IPv4 address, or the 64 bits of IPv6 that one customer
            has. Behind a proxy that is none of ``trusted_proxies``, the address is the proxy's.
        trusted_proxies: addresses or networks (``"10.0.0.0/8"``) of proxies whose ``X-Forwarded-For`` is believed. They
            may have any number of connections; the requests of each address that they name are counted instead.

    Raises:
        ValueError: one of them makes no sense.

    Example:
        >>> ConnectionLimits(answer_seconds=None, unread_seconds=60, max_connections=10_000)
    """

    header_seconds: float = 10.0
    body_seconds: float = 30.0
    answer_seconds: float | None = 60.0
    unread_seconds: float | None = None
    max_connections: int = 1000
    max_connections_per_address: int = 250
    trusted_proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("header_seconds", "body_seconds", "answer_seconds", "unread_seconds"):
            value = getattr(self, name)
            if value is None and name in ("answer_seconds", "unread_seconds"):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                msg = f"{name} must be seconds above 0, got {shown(value)}"
                raise ValueError(msg)
        if self.answer_seconds is None and self.unread_seconds is None:
            msg = "unread_seconds must be given where answer_seconds is None: who never reads would be kept for ever"
            raise ValueError(msg)
        for name in ("max_connections", "max_connections_per_address"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                msg = f"{name} must be a whole number from 1 on, got {shown(value)}"
                raise ValueError(msg)
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                msg = f"trusted_proxies must be addresses or networks such as 10.0.0.0/8, got {shown(proxy)}: {error}"
                raise ValueError(msg) from None

    @property
    def longest_unread(self) -> float:
        """Seconds that bytes of an answer may lie here."""
        seconds = self.unread_seconds or self.answer_seconds
        assert seconds is not None  # noqa: S101 - one of them is given
        return seconds
