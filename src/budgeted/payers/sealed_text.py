"""Who pays as one line of text, signed where there is a secret: made, checked, and refused where it is not as made."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from budgeted.errors import CarrierError
from budgeted.validation import shown

NAME = "budgeted-payers"
"""The header that the text travels in."""

LONGEST = 65_536
"""Characters of the longest text that is looked at: headers are shorter, and each block adds at most 700."""

_VERSION = "1"


def sealed(content: bytes, secret: str) -> str:
    """The text of some content: signed with HMAC-SHA256, or where there is no secret, only made whole.

    Args:
        content: any bytes.
        secret: "" for none.
    """
    body = f"{_VERSION}.{_encoded(content)}"
    return f"{body}.{_tag(body, secret)}"


def opened(text: str, secret: str) -> bytes:
    """The content of a text.

    Args:
        text: as it came.
        secret: by which it has to be signed; "" for a text that is not signed.

    Raises:
        CarrierError: it is not what :func:`sealed` made with this secret.
    """
    body, _, tag = text.rpartition(".")
    version, _, encoded = body.partition(".")
    if len(text) > LONGEST or not text.isascii() or version != _VERSION or tag[:1] not in ("s", "u"):
        problem = "is not what inject() made, or was cut off; pass on all of it, as it is, or leave it out"
        raise mistaken(text, problem)
    if tag[0] == "s" and not secret:
        raise mistaken(text, "is signed, and nobody can check that here; set BUDGETED_SECRET as where it was injected")
    if tag[0] == "u" and secret:
        problem = "is not signed, and BUDGETED_SECRET is set here; set the same one where it is injected"
        raise mistaken(text, problem)
    if not hmac.compare_digest(tag, _tag(body, secret)):
        if secret:
            problem = "is signed with another secret, or was changed or cut off; set the same BUDGETED_SECRET in both"
            raise mistaken(text, f"{problem} processes, and pass on all of it, as it is")
        raise mistaken(text, "was changed or cut off on its way; pass on all of it, as it is, or leave it out")
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except (ValueError, binascii.Error):
        raise mistaken(text, "is not what inject() made; leave it out") from None


def mistaken(text: str, problem: str) -> CarrierError:
    """The error that quotes the beginning of a text, and says what is wrong with it."""
    return CarrierError(f"{NAME}={shown(text)} {problem}")


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _tag(body: str, secret: str) -> str:
    if not secret:
        return "u" + hashlib.sha256(body.encode()).hexdigest()[:16]
    # The name keeps what is signed here from meaning anything elsewhere, where the secret signs other things, too.
    return "s" + _encoded(hmac.digest(secret.encode(), f"{NAME} {body}".encode(), "sha256"))
