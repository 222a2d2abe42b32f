"""Signatures of what is sent: how they are made and checked, and where the secret is read from."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from budgeted.validation import shown

HEADER: Final = "Budgeted-Signature"

VARIABLE: Final = "BUDGETED_ALERTS_SECRET"
OF_FILE: Final = f"{VARIABLE}_FILE"

_LONGEST: Final = 4096
"""Bytes of a secret: of more, the file is another one."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that neither errors nor logs show."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "***"


def secret(given: object) -> Secret | None:
    """Read the setting ``alerts_secret``.

    Args:
        given: text, or None for no signature. What this function returned before is returned as it is.

    Raises:
        TypeError, ValueError: it is no text, or none that could be meant. The error does not show it.
    """
    if given is None or isinstance(given, Secret):
        return given
    if not isinstance(given, str):
        msg = f"alerts_secret must be text, not {type(given).__name__}"
        raise TypeError(msg)
    problem = _problem(given)
    if problem:
        msg = f"alerts_secret {problem}"
        raise ValueError(msg)
    return Secret(given)


def secret_of_environment(environment: Mapping[str, str]) -> Secret | None:
    """The secret that ``BUDGETED_ALERTS_SECRET`` holds, or the file that ``BUDGETED_ALERTS_SECRET_FILE`` names.

    Args:
        environment: such as ``os.environ``.

    Raises:
        ValueError: both are set, or the file has no secret. The text does not show it.
    """
    value, path = environment.get(VARIABLE, "").strip(), environment.get(OF_FILE, "").strip()
    if value and path:
        msg = f"{VARIABLE} and {OF_FILE} are both set; leave one of them out"
        raise ValueError(msg)
    name = VARIABLE
    if path:
        name = f"{OF_FILE}={shown(path)}"
        try:
            with Path(path).expanduser().open("rb") as file:
                # Blanks around it are an editor's.
                value = file.read(_LONGEST + 1).decode().strip()
        except OSError as error:
            msg = f"{name} cannot be read: {error.strerror or type(error).__name__}"
            raise ValueError(msg) from None
        except (UnicodeDecodeError, RuntimeError):
            msg = f"{name} holds no text in UTF-8, or is in a home that nobody knows"
            raise ValueError(msg) from None
    elif not value:
        return None
    problem = _problem(value)
    if problem:
        msg = f"{name} {problem}"
        raise ValueError(msg)
    return Secret(value)


def _problem(text: str) -> str:
    """What keeps a text from being a secret; "" if nothing does."""
    if not text or text != text.strip():
        return "is empty, or begins or ends with a blank; write the secret alone"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "holds lone surrogates; write plain text"
    return f"is longer than {_LONGEST} bytes; write a shorter one" if size > _LONGEST else ""


def signature(body: bytes, secret: str, at: int) -> str:
    """The header's value for a body that is sent at a time (unix seconds)."""
    return f"t={at},v1={_tag(body, secret, at)}"


def is_signed(body: bytes, header: str, secret: str, at: float, tolerance: float) -> bool:
    """Whether a header was made of this body with this secret, within ``tolerance`` seconds of a time."""
    fields = [one.strip().partition("=") for one in header.split(",")]
    times = [value for name, _, value in fields if name == "t"]
    tags = [value for name, _, value in fields if name == "v1"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit() or len(times[0]) > 15:
        return False
    expected = _tag(body, secret, int(times[0])).encode()
    # All of them: how long it takes does not tell which one was nearly right.
    right = [hmac.compare_digest(expected, tag.encode(errors="replace")) for tag in tags]
    return any(right) and abs(at - int(times[0])) <= tolerance


def _tag(body: bytes, secret: str, at: int) -> str:
    return hmac.digest(secret.encode(), f"{at}.".encode() + body, "sha256").hex()
