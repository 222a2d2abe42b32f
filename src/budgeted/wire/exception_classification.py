"""What an exception says about money: was anything sent, and did the provider answer?"""

from __future__ import annotations

from collections.abc import Iterator

UNSENT = "unsent"
REFUSED = "refused"
UNCERTAIN = "uncertain"

# Class names of exceptions that mean that no request left: httpx and httpx2, aiohttp, urllib3 and requests, botocore,
# google-auth.
_BEFORE_SENDING = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
        "LocalProtocolError",
        "InvalidURL",
        "ClientConnectorError",
        "ConnectionTimeoutError",
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "EndpointConnectionError",
        "NoCredentialsError",
        "DefaultCredentialsError",
        "RefreshError",
        "ConnectionRefusedError",
        "gaierror",
    }
)

# What libcurl says where a proxy's or a host's name is not known, and where nobody takes the connection
# (https://curl.se/libcurl/c/libcurl-errors.html). Its other codes leave open what was sent.
_CURL_BEFORE_SENDING = frozenset((5, 6, 7))

# asyncio's, trio's and grpc's.
_CANCELLED = frozenset({"CancelledError", "Cancelled", "FutureCancelledError"})

# Status codes of gRPC by which a server refuses. The others are given as well, or only, to what was lost on its way
# there or back (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
_REFUSALS = frozenset(
    "INVALID_ARGUMENT NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED UNAUTHENTICATED RESOURCE_EXHAUSTED "
    "FAILED_PRECONDITION OUT_OF_RANGE UNIMPLEMENTED".split()
)
_NOT_CONNECTED = ("failed to connect to all addresses", "dns resolution failed")
_TOO_LARGE = "larger than max"

# Bases of what a client library raises where an answer breaks the rules of HTTP. aiohttp gives it the status (400) that
# a server would give to such a request: the provider has answered all the same, and bills what it has done.
_UNREADABLE = "HttpProcessingError"

# Some packages give their timeouts a status (408) that no server sent.
_TIMEOUTS = frozenset({"APITimeoutError", "TimeoutError", "TimeoutException"})


def classify(error: BaseException, handled: BaseException | None = None) -> str:
    """Tell whether a failed call can have cost anything.

    Args:
        error: what the call raised.
        handled: the exception that was being handled when the call began, if any: it tells nothing of this call.

    Returns:
        ``"refused"`` if it carries an HTTP status of an error, ``"unsent"`` if it says that nothing was sent,
        else ``"uncertain"``.
    """
    for cause in _causes(error, handled):
        names = {kind.__name__ for kind in type(cause).__mro__}
        code = grpc_code(cause)
        if code is not None:
            return _of_grpc(cause, code)
        # Above aiohttp, one that broke later is also called a connection that could not be made: aiohttp tells which.
        if not _BEFORE_SENDING.isdisjoint(names) and not _is_of_aiohttp(_before(cause), handled):
            return UNSENT
        if "CurlError" in names and _plain(cause, "code") in _CURL_BEFORE_SENDING:
            return UNSENT
        if _UNREADABLE in names or any(kind.__name__ == _UNREADABLE for kind in type(cause.__cause__).__mro__):
            return UNCERTAIN
        status = status_of(cause) if _TIMEOUTS.isdisjoint(names) else None
        if status is not None:
            return REFUSED if status >= 400 else UNCERTAIN
    return UNCERTAIN


def grpc_code(error: BaseException) -> str | None:
    """The name of the gRPC status code that an exception carries, such as ``"UNAVAILABLE"``; None if it has none.

    Args:
        error: grpc's own, or what Google's libraries make of it.
    """
    for holder in (error, getattr(error, "response", None)):
        if any(kind.__name__ == "RpcError" for kind in type(holder).__mro__):
            code = getattr(holder, "code", None)
            found = code() if callable(code) else None
            return None if found is None else str(getattr(found, "name", found))
    return None


def _of_grpc(error: BaseException, code: str) -> str:
    details = str(error).lower()
    if code == "UNAVAILABLE" and any(text in details for text in _NOT_CONNECTED):
        return UNSENT
    # An answer that this side would not take was given all the same.
    return REFUSED if code in _REFUSALS and _TOO_LARGE not in details else UNCERTAIN


def _is_of_aiohttp(error: BaseException | None, handled: BaseException | None) -> bool:
    return error is not handled and type(error).__module__.startswith("aiohttp")


def _before(error: BaseException) -> BaseException | None:
    """The exception that another one came from."""
    return error.__cause__ or error.__context__


def _causes(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came from, the last first."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        cause = pending.pop()
        if not isinstance(cause, BaseException) or cause is handled or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        # urllib3 keeps the cause as `reason`, and requests as an argument.
        first = cause.args[0] if cause.args else None
        pending += (first, getattr(cause, "reason", None), _before(cause))


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an exception carries, or None."""
    for holder in (error, getattr(error, "response", None)):
        if holder is None:
            continue
        if isinstance(holder, dict):  # botocore's ClientError
            holder = holder.get("ResponseMetadata") or {}  # noqa: PLW2901
            found = [holder.get("HTTPStatusCode")] if isinstance(holder, dict) else []
        else:
            found = [_plain(holder, name) for name in ("status_code", "http_status", "status", "code")]
        for status in found:
            if isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599:
                return status
    return None


def reason_of(error: BaseException) -> str:
    """In a few words, why a call's cost is not known."""
    # By name: who never ran a coroutine need not load asyncio or trio for it.
    cancelled = any(kind.__name__ in _CANCELLED for kind in type(error).__mro__)
    if cancelled or isinstance(error, (GeneratorExit, KeyboardInterrupt)):
        return "cancelled after sending"
    code = grpc_code(error)
    if code == "CANCELLED":
        return "cancelled after sending"
    if code == "DEADLINE_EXCEEDED":
        return "timed out after sending"
    if code is not None:
        return f"cut off after sending ({code})"
    names = [kind.__name__ for kind in type(error).__mro__]
    if isinstance(error, TimeoutError) or any("Timeout" in name for name in names):
        return "timed out after sending"
    return f"cut off after sending ({names[0]})"


def came_through(error: BaseException, functions: frozenset[str]) -> bool:
    """Whether an exception has passed through one of these functions, as one does that arose before sending.

    Args:
        error: which has been raised.
        functions: their names.
    """
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name in functions:
            return True
        trace = trace.tb_next
    return False


def _plain(holder: object, name: str) -> object:
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - some properties of foreign exceptions raise
        return None
