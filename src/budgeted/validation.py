"""What arguments may be: names, counts and seconds, refused at the door where they make no sense."""

from __future__ import annotations

import functools
import re

MOST = 1_000_000_000
"""The largest count that is taken, of tokens or of anything else."""

_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_LIKE_A_LIMIT = re.compile(
    r"\s*+(\$|.*\d\s*+([kmb]\b\s*+)?(/|per\b|usd\b|((input|output|tool)[\s_-])?(tokens?|calls?)\b|[rt]pm\b))",
    re.IGNORECASE,
)


def shown(value: object) -> str:
    """Quote any value in an error's text: its repr, or the beginning of a long one."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # such as an int of more than 4300 digits; the error is about something else
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else f"{text[:76]} ..."


def check_name(name: object, what: str) -> str:
    """A user's, key's or project's name: 1 to 256 bytes of UTF-8 without control characters.

    Args:
        name: what was given.
        what: what it is, for the error's text.

    Returns:
        The name.

    Raises:
        TypeError: it is no string.
        ValueError: it is empty, too long, or holds control characters or lone surrogates.
    """
    if not isinstance(name, str):
        hint = "; call str() on ids that are numbers" if isinstance(name, int) and not isinstance(name, bool) else ""
        msg = f"{what} must be a string, got {shown(name)}{hint}"
        raise TypeError(msg)
    if not _NAME.fullmatch(name):
        problem = "is empty" if not name else "holds control characters or lone surrogates"
        msg = f"{what} {shown(name)} {problem}; write 1 to 256 bytes of plain text, such as 'alice' or 'team:search'"
        raise ValueError(msg)
    if len(name) > 64 and len(name.encode()) > 256:
        msg = f"{what} {shown(name)} has {len(name.encode())} bytes, and 256 are allowed; use a shorter id, or a hash"
        raise ValueError(msg)
    return name


def check_user(name: object) -> str:
    """A user's name, or that of a tag's account, ``tag:NAME=VALUE``, which stands where a user's does.

    Args:
        name: what was given.

    Returns:
        The name.

    Raises:
        TypeError: it is no string.
        ValueError: it is no name of a user, as :func:`check_name` has it, nor of a tag.
    """
    if isinstance(name, str) and name[:4] == TAG and is_tag(name):
        tag, _, value = name[len(TAG) :].partition("=")
        check_tag_value(value, check_tag_name(tag))
        return name
    return check_name(name, "user")


known_user = functools.lru_cache(maxsize=4096)(check_user)
"""The same, of what is a string and of no class of its own: nearly always one that came before."""

TAG = "tag:"
"""How the name begins by which people know a tag's account."""

_TAG_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def is_tag(name: str) -> bool:
    """Whether a name is that of a tag's account, and not a user's."""
    return name.startswith(TAG) and "=" in name


def check_tag_name(name: object) -> str:
    """The name of a tag, such as ``feature``.

    Args:
        name: what was given.

    Returns:
        The name.

    Raises:
        TypeError: it is no string.
        ValueError: it is no short identifier.
    """
    if not isinstance(name, str):
        msg = f"the name of a tag must be a string such as 'feature', got {shown(name)}"
        raise TypeError(msg)
    if not _TAG_NAME.fullmatch(name):
        msg = (
            f"{shown(name)} is no name of a tag; write 1 to 64 letters, digits, '_', '.' and '-' that begin with a "
            f"letter or '_', such as 'feature'"
        )
        raise ValueError(msg)
    return str.__str__(name)  # of an enumeration's member, what it stands for


def check_tag_value(value: str, name: str) -> str:
    """The value of a tag: 1 to 200 bytes of UTF-8 without control characters.

    Args:
        value: what was given.
        name: the tag's.

    Returns:
        The value.

    Raises:
        ValueError: it is empty, too long, or holds control characters or lone surrogates.
    """
    if not _NAME.fullmatch(value):
        problem = "is empty; give None, or leave it out, where there is none"
        if value:
            problem = "holds control characters or lone surrogates; write plain text"
        msg = f"the value of the tag {name!r}, {shown(value)}, {problem}"
        raise ValueError(msg)
    if len(value) > 50 and len(value.encode()) > 200:
        msg = (
            f"the value of the tag {name!r}, {shown(value)}, has {len(value.encode())} bytes, and 200 are allowed; "
            f"use a shorter id, or a hash"
        )
        raise ValueError(msg)
    return value


def check_text(value: object, what: str) -> str:
    """The name of something that others name: a model, a provider, a tier.

    Args:
        value: what was given.
        what: what it is, for the error's text.

    Returns:
        The name.

    Raises:
        TypeError: it is no text, or an empty one.
        ValueError: it cannot be encoded.
    """
    if not isinstance(value, str) or not value:
        msg = f"{what} must be a name as text, got {shown(value)}"
        raise TypeError(msg)
    try:
        value.encode()
    except UnicodeEncodeError:
        msg = f"{what} {shown(value)} holds lone surrogates, which no server takes; write plain text"
        raise ValueError(msg) from None
    return value


def check_count(value: object, what: str, least: int = 0, most: int = MOST) -> int:
    """A whole number of something.

    Args:
        value: what was given.
        what: what it is, for the error's text.
        least: the smallest that is taken.
        most: the largest.

    Returns:
        The number.

    Raises:
        ValueError: it is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        msg = f"{what} must be a number from {least} to {most:,}, got {shown(value)}"
        raise ValueError(msg)
    return value


def check_seconds(value: object, what: str) -> float:
    """A number of seconds from 0 on; infinite is allowed.

    Args:
        value: what was given.
        what: what it is, for the error's text.

    Returns:
        Seconds.

    Raises:
        ValueError: it is no such number.
    """
    try:
        seconds = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else -1.0
    except OverflowError:
        seconds = -1.0
    if not seconds >= 0:
        msg = f"{what} must be seconds from 0 on, got {shown(value)}"
        raise ValueError(msg)
    return seconds


def check_yes_or_no(value: object, what: str) -> bool:
    """A choice between two.

    Args:
        value: what was given.
        what: what it is, for the error's text.

    Returns:
        The same.

    Raises:
        TypeError: it is neither True nor False.
    """
    if not isinstance(value, bool):
        msg = f"{what} must be True or False, got {shown(value)}"
        raise TypeError(msg)
    return value


def looks_like_a_limit(name: str) -> bool:
    """Whether a user's name was probably meant as a limit."""
    return bool(_LIKE_A_LIMIT.match(name))


def refuse_amount(user: object, where: str) -> None:
    """Refuse an amount where a user is asked for.

    Args:
        user: what was given as the user.
        where: what takes an amount there: ``"budget(cap={})"``.

    Raises:
        TypeError, ValueError: it is an amount of USD.
    """
    if isinstance(user, str):
        if user[:1] != "$":
            return
        amount = user.strip("$ ").split("/")[0]
        msg = f"user={shown(user)} would bill a user of that name; for an amount write {where.format(shown(amount))}"
        raise ValueError(msg)
    if isinstance(user, (int, float)) and not isinstance(user, bool):
        msg = f"user must be a string, got {shown(user)}; for an amount write {where.format(shown(user))}"
        raise TypeError(msg)
