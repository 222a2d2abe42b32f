"""Where a server is, taken from a URL, and the token that it is spoken to with."""

from __future__ import annotations

import os
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from budgeted.errors import LedgerError
from budgeted.http_server.same_machine import is_loopback


class Address:
    """Where a server is, taken from a URL, and the token that the URL brings.

    Args:
        url: ``https://[TOKEN@]HOST[:PORT][/PATH]``; ``http://`` for this machine itself, or with ``?allow_http=1``.

    Raises:
        LedgerError: it is no such URL. The text shows no credentials.
    """

    def __init__(self, url: str) -> None:
        parts = _split(url)
        host = parts.hostname or ""
        given = parse_qs(parts.query, keep_blank_values=True)
        if given.keys() - {"allow_http"}:  # not quoted: it may be the token
            msg = (
                f"the ledger's URL {_bare(parts)}?... has options that are not known; there is allow_http=1. A token "
                f"goes into BUDGETED_TOKEN, or before the host: https://TOKEN@host"
            )
            raise LedgerError(msg)
        if parts.scheme == "http" and not is_loopback(host) and given.get("allow_http") != ["1"]:
            msg = (
                f"{_bare(parts)} would send budgets and the token unencrypted over the network; write https://, or, "
                f"where the network itself is encrypted, {_bare(parts)}?allow_http=1"
            )
            raise LedgerError(msg)
        self.base = _bare(parts)
        self.where = f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self.token = unquote(parts.password or parts.username or "") or None


def _split(url: str) -> SplitResult:
    msg = "the ledger's URL cannot be read; write https://HOST[:PORT], with the token in BUDGETED_TOKEN"
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment or parts.port == 0:
            raise LedgerError(msg)
    except ValueError:  # such as a port that is no number; its text would show the rest of the URL
        raise LedgerError(msg) from None
    return parts


def _bare(parts: SplitResult) -> str:
    """A URL without its credentials and options."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def token_from_environment() -> str | None:
    """The token that ``BUDGETED_TOKEN`` holds; the first of several, as a server may have them."""
    return os.environ.get("BUDGETED_TOKEN", "").partition(",")[0].strip() or None
