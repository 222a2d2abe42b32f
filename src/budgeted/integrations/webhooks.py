"""For whoever receives what ``alerts_to`` sends: whether a request is from us, and was sent just now."""

from __future__ import annotations

import time
from collections.abc import Iterable

from budgeted.telemetry.webhooks.signatures import is_signed
from budgeted.validation import check_seconds, shown


def verify(
    body: bytes | str,
    header: str | None,
    secret: str | Iterable[str],
    tolerance: float = 300,
    *,
    now: float | None = None,
) -> bool:
    """Whether a request was signed with a secret, and lately.

    Args:
        body: of the request, as it came: not what was made of it by reading its JSON.
        header: ``Budgeted-Signature``; None where there was none.
        secret: what the sender has for ``alerts_secret``; several while it is being replaced, one of which must do.
        tolerance: seconds that may be between the sender's clock and this one; ``math.inf`` for any.
        now: unix seconds; None for the present time.

    Returns:
        Whether it was. Of what is not, look at nothing else.

    Raises:
        TypeError, ValueError: an argument is none that a receiver could mean; no secret is shown.

    Example:
        >>> verify(b"{}", request.headers.get("Budgeted-Signature"), "the secret")
        False
    """
    content = _bytes_of(body)
    secrets = _texts_of(secret)
    seconds = check_seconds(tolerance, "tolerance")
    at = time.time() if now is None else now
    if header is None:
        return False
    return any(is_signed(content, header, one, at, seconds) for one in secrets)


def _bytes_of(body: object) -> bytes:
    if isinstance(body, str):
        return body.encode()
    if not isinstance(body, (bytes, bytearray, memoryview)):
        msg = f"body must be the bytes that came, got {shown(body)}"
        raise TypeError(msg)
    return bytes(body)


def _texts_of(secret: object) -> list[str]:
    given = [secret] if isinstance(secret, str) else list(secret) if isinstance(secret, Iterable) else []
    found = [one for one in given if isinstance(one, str) and one]
    if not found or len(found) < len(given):
        msg = "secret must be text, and not empty: with an empty one, anybody could sign"
        raise ValueError(msg)
    return found
