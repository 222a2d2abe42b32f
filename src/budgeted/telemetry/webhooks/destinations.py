"""Where events are sent: the URLs of ``alerts_to``, of which nothing but scheme and host is ever shown."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args
from urllib.parse import SplitResult, parse_qsl, urlsplit

from budgeted.http_server.same_machine import is_loopback
from budgeted.telemetry.events import Kind
from budgeted.validation import shown

Format: TypeAlias = Literal["json", "slack"]

BY_DEFAULT: Final = frozenset({"alert", "asked", "stopped"})
"""The kinds of events that are sent where an entry names none: those that somebody has to act upon."""

MOST: Final = 20
"""Entries of one manager: each has a thread of its own while it sends."""

_KINDS: Final = BY_DEFAULT | frozenset(get_args(Kind))
_SLACK_HOSTS: Final = ("hooks.slack.com", "hooks.slack-gov.com")
_SLACK: Final = "slack+"
_EXAMPLE: Final = "'https://example.com/hook'"
_PLAIN: Final = re.compile(r"[\x21-\x7e]+")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")


@dataclass(frozen=True, slots=True, repr=False)
class Destination:
    """One entry of ``alerts_to``, as :func:`destinations` has read it. Its text shows scheme and host alone.

    Args:
        url: what is asked, without the options behind ``#``; a secret.
        format: how an event is written there.
        kinds: of events that are sent there.
        hashed: whether names of users and keys are sent as hashes.
    """

    url: str
    format: Format
    kinds: frozenset[str]
    hashed: bool

    @property
    def parts(self) -> SplitResult:
        """The URL, taken apart."""
        return _split(self.url)

    @property
    def id(self) -> str:
        """What it is known by where its URL must not be: in the ledger, and in files of what waits."""
        return _digest(self.url)

    def __str__(self) -> str:
        return public(self.url)

    def __repr__(self) -> str:
        return repr(str(self))


# Both are asked for whenever a limit's share is looked at.
_split = functools.lru_cache(maxsize=MOST)(urlsplit)


@functools.lru_cache(maxsize=MOST)
def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def public(url: str) -> str:
    """A URL as others may read it: ``https://hooks.slack.com/...``. "..." for what has no host that could be told."""
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z0-9+.-]{1,20}", scheme):
        return "..."
    # A backslash, as some take one for the end of the host.
    authority, *path = re.split(r"[/?#\\]", rest, maxsplit=1)
    host = authority.rpartition("@")[2]
    # An at-sign behind it: what looks like the host may be the beginning of a password.
    return f"{scheme}://{host}/..." if _HOST.fullmatch(host) and "@" not in "".join(path) else f"{scheme}://..."


def is_url(value: object) -> bool:
    """Whether a value is a URL, which an error about something else must not quote: it may be a secret."""
    return isinstance(value, str) and "://" in value


def destinations(given: object) -> tuple[Destination, ...]:
    """Read the setting ``alerts_to``.

    Args:
        given: a URL, or several: ``https://...``, or ``http://...`` of this very machine. What is behind ``#`` is kept
            here: ``#names=hash`` sends names as hashes, ``#kinds=alert+overrun`` these kinds of events. Slack's format
            is written to ``hooks.slack.com``, and to ``slack+https://...``. None, or no URL, for nowhere. What this
            function returned before is returned as it is.

    Returns:
        The destinations, in order.

    Raises:
        TypeError, ValueError: one makes no sense. The text shows its scheme and host, and no more of it.

    Example:
        >>> destinations("https://hooks.slack.com/services/T0/B0/secret")
        ('https://hooks.slack.com/...',)
    """
    listed = () if given is None else (given,) if isinstance(given, (str, Destination)) else given
    if not isinstance(listed, Iterable) or isinstance(listed, (bytes, dict)):
        kind = type(given).__name__
        msg = f"alerts_to must be a URL such as {_EXAMPLE}, or a list of them, not {kind}"
        raise TypeError(msg)
    found: list[Destination] = []
    for number, one in enumerate(listed, 1):
        destination = one if isinstance(one, Destination) else _destination(one, number)
        if any(other.url == destination.url for other in found):
            msg = f"alerts_to names {destination} twice; list each URL once"
            raise ValueError(msg)
        found.append(destination)
    if len(found) > MOST:
        msg = f"alerts_to may name {MOST} URLs, and names {len(found)}; have one of them pass on what it gets"
        raise ValueError(msg)
    return tuple(found)


def _destination(url: object, number: int) -> Destination:
    if not isinstance(url, str):
        msg = f"alerts_to must be URLs such as {_EXAMPLE} as text, and number {number} is {type(url).__name__}"
        raise TypeError(msg)
    slack = url[: len(_SLACK)].lower() == _SLACK
    bare, _, options = url[len(_SLACK) * slack :].partition("#")
    if not _PLAIN.fullmatch(bare):
        problem = "holds blanks or other characters that no URL has; write them as %20 and the like" if bare else ""
        raise _mistaken(url, number, problem or f"is empty; write {_EXAMPLE}")
    try:
        parts = urlsplit(bare)
        host, port = parts.hostname, parts.port
    except ValueError:  # its text would show the rest of the URL
        raise _mistaken(url, number, f"cannot be read; write {_EXAMPLE}") from None
    if parts.scheme not in ("https", "http") or not host or port == 0 or not re.fullmatch(r"[a-z0-9._:-]+", host):
        problem = f"is no https:// URL (what is not shown may be a secret); write {_EXAMPLE}"
        raise _mistaken(url, number, problem)
    if parts.scheme == "http" and not is_loopback(host):
        raise _mistaken(url, number, "would send names and amounts unencrypted over the network; write https://")
    kinds, hashed = _options(url, number, options)
    return Destination(bare, "slack" if slack or host in _SLACK_HOSTS else "json", kinds, hashed)


def _options(url: str, number: int, text: str) -> tuple[frozenset[str], bool]:
    """What is behind ``#``: kinds of events, and whether names are hashed."""
    kinds, hashed = BY_DEFAULT, False
    pairs = parse_qsl(text, keep_blank_values=True)
    if text and not pairs:
        raise _mistaken(url, number, "has an empty option behind #; there are #names=hash and #kinds=alert+overrun")
    for name, value in pairs:
        if name == "names" and value in ("hash", "plain"):
            hashed = value == "hash"
        elif name == "kinds" and frozenset() < (wanted := frozenset(value.replace(",", " ").split())) <= _KINDS:
            kinds = wanted  # each plus was a blank by now
        elif name == "kinds":
            problem = f"asks for the kinds {shown(value)} behind #, and there are {'+'.join(sorted(_KINDS))}"
            raise _mistaken(url, number, problem)
        else:
            problem = "has an option behind # that is not known; there are #names=hash and #kinds=alert+overrun"
            raise _mistaken(url, number, problem)
    return kinds, hashed


def _mistaken(url: str, number: int, problem: str) -> ValueError:
    return ValueError(f"alerts_to, URL number {number}: {public(url)} {problem}")
