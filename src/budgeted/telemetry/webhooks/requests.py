"""One request to one URL: within a time, whatever the other end does, and without a word of its URL anywhere.

It is written to a socket by hand: what hooks HTTP clients, ours as well as other tools that trace or record requests,
would meter it, or keep the URL, which is a secret.
"""

from __future__ import annotations

import contextlib
import functools
import io
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from budgeted.http_server.same_machine import is_loopback

if TYPE_CHECKING:
    import socket
    import ssl
    from http.client import HTTPResponse

SECONDS: Final = 10.0
"""How long one request may take, all in all."""

_MOST_READ: Final = 1000
"""Bytes of an answer's body that are read: what closes a connection before may have failed for the other end."""

_READ_SECONDS: Final = 1.0


class Answer(msgspec.Struct, frozen=True):
    """What came back.

    Args:
        status: HTTP's.
        retry_after: seconds after which the other end wants to be asked again, or None.
        text: the beginning of the body.
    """

    status: int
    retry_after: float | None = None
    text: str = ""

    @property
    def taken(self) -> bool:
        """Whether the event has arrived."""
        return 200 <= self.status < 300

    @property
    def may_change(self) -> bool:
        """Whether it makes sense to ask again."""
        return self.status == 429 or self.status >= 500


def post(url: SplitResult, body: bytes, headers: Mapping[str, str], seconds: float = SECONDS) -> Answer:
    """Send a request, once. Redirects are not followed.

    Args:
        url: ``https://`` or ``http://``; user and password are sent as such.
        body: of the request.
        headers: besides those that HTTP itself wants.
        seconds: the longest that all of it may take but for looking the host's name up.

    Raises:
        OSError: the request cannot be sent, or nothing answers in time (``TimeoutError``).
        HTTPException: what answers does not speak HTTP.
    """
    deadline = time.monotonic() + seconds
    with _connected(url, deadline) as connection:
        connection.settimeout(_left(deadline))
        connection.sendall(_request(url, body, headers))
        response = _begun(connection, deadline)
        return Answer(response.status, _seconds_of(response.getheader("Retry-After")), _text_of(response, deadline))


def problem_of(error: Exception) -> str:
    """What went wrong with a request, in words that hold nothing of its URL but the host."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    # A certificate's has a text of its own, which names the host.
    said = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or ""
    return f"{type(error).__name__}: {said}" if isinstance(error, OSError) and said else type(error).__name__


def _request(url: SplitResult, body: bytes, headers: Mapping[str, str]) -> bytes:
    target = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
    given = {
        "Host": url.netloc.rpartition("@")[2],
        "Content-Length": str(len(body)),
        "Connection": "close",
        **_authorization("Authorization", url),
        **headers,
    }
    return _head(f"POST {target} HTTP/1.1", given) + body


def _head(line: str, headers: Mapping[str, str]) -> bytes:
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode("ascii")


def _authorization(name: str, url: SplitResult) -> dict[str, str]:
    if url.username is None:
        return {}
    import base64

    user = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return {name: f"Basic {base64.b64encode(user.encode()).decode()}"}


def _connected(url: SplitResult, deadline: float) -> socket.socket:
    """A connection to a URL's host, through the proxy that the environment names, if it names one."""
    host = url.hostname or ""
    port = url.port or (443 if url.scheme == "https" else 80)
    proxy = None if is_loopback(host) else _proxy_for(host)
    if proxy is None:
        connection = _reached(host, port, deadline)
    else:
        connection = _reached(proxy.hostname or "", proxy.port or 80, deadline)
    try:
        if proxy is not None:
            _ask_through(proxy, host, port, connection, deadline)
        if url.scheme == "https":
            connection.settimeout(_left(deadline))
            connection = _tls().wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise
    return connection


def _reached(host: str, port: int, deadline: float) -> socket.socket:
    """A connection to the first of a host's addresses that takes one. All of them share the time."""
    import socket  # this and others not before something is sent: importing the package is to be quick

    error: OSError = OSError("no address is known")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_left(deadline))
            connection.connect(address)
        except OSError as reason:
            connection.close()
            error = reason
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise error


def _proxy_for(host: str) -> SplitResult | None:
    """The proxy of ``HTTPS_PROXY`` and its like; only those are asked that are the environment's, not the system's."""
    from urllib import request

    found = request.getproxies_environment()
    address = found.get("https") or found.get("all")
    if not address or request.proxy_bypass_environment(host, found):  # type: ignore[attr-defined] # it is there
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http" or not proxy.hostname:
        msg = "the proxy of HTTPS_PROXY is none that is spoken to by http://"
        raise OSError(msg)
    return proxy


def _ask_through(proxy: SplitResult, host: str, port: int, connection: socket.socket, deadline: float) -> None:
    """Have a proxy pass on what is sent from now on."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connection.settimeout(_left(deadline))
    connection.sendall(
        _head(f"CONNECT {where} HTTP/1.1", {"Host": where, **_authorization("Proxy-Authorization", proxy)})
    )
    response = _begun(connection, deadline, method="CONNECT")
    if response.status != 200:
        msg = f"the proxy of HTTPS_PROXY answers {response.status}"
        raise OSError(msg)


@functools.lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context()


class _Reading(io.RawIOBase):
    """A connection that is read until a deadline, however little comes at a time."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # what BufferedReader gives
        self._connection.settimeout(_left(self._deadline))
        return self._connection.recv_into(buffer)


class _Readable:
    """What :class:`HTTPResponse` asks of a socket."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._reading = _Reading(connection, deadline)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reading)


def _begun(connection: socket.socket, deadline: float, method: str = "POST") -> HTTPResponse:
    """An answer whose head was read."""
    from http.client import HTTPResponse

    response = HTTPResponse(_Readable(connection, deadline), method=method)  # type: ignore[arg-type]
    response.begin()
    return response


def _text_of(response: HTTPResponse, deadline: float) -> str:
    """The beginning of an answer's body, if it comes at once. The event has arrived without it, or has not."""
    until = min(deadline, time.monotonic() + _READ_SECONDS)
    found = b""
    with contextlib.suppress(Exception):
        while len(found) < _MOST_READ and time.monotonic() < until and (part := response.read1(_MOST_READ)):
            found += part
    return found[:_MOST_READ].decode(errors="replace")


def _seconds_of(retry_after: str | None) -> float | None:
    """What ``Retry-After`` says, which is a number of seconds, or a date."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError, OSError):
        return None


def _left(deadline: float) -> float:
    """Seconds until a deadline.

    Raises:
        TimeoutError: there are none.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
