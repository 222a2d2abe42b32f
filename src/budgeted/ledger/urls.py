"""Which kind of ledger a ``ledger=`` argument names. What names none, but was meant to, is refused."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from budgeted.errors import LedgerError
from budgeted.validation import shown

PATH, MEMORY, REDIS, SQL, HTTP = "path", "memory", "redis", "sql", "http"

_SQLITE = "sqlite:////path/to/file.db"
_POSTGRES = "postgresql+psycopg://user:password@host/database"
_REDIS = "redis://user:password@host:6379/0"

_SCHEMES = {
    "memory": (MEMORY, "memory://"),
    "file": (PATH, "file:///dir"),
    "sqlite": (SQL, _SQLITE),
    "postgresql": (SQL, _POSTGRES),
    "postgres": (SQL, _POSTGRES),
    "redis": (REDIS, _REDIS),
    "rediss": (REDIS, _REDIS.replace("redis", "rediss")),
    "http": (HTTP, "https://host"),
    "https": (HTTP, "https://host"),
}
"""The kind of ledger behind each scheme, and an example of it."""

_ALSO_CALLED = {
    "valkey": "Valkey speaks Redis's protocol: write 'redis://host:6379/0'",
    "valkeys": "Valkey speaks Redis's protocol: write 'rediss://host:6379/0'",
    "unix": "for a socket, write ledger=redis.Redis(unix_socket_path=...)",
}
"""What other packages write, and what to write here."""

_HOST_AND_PORT = re.compile(r"([^/@\s]*@)?[A-Za-z0-9.-]+:\d{2,5}(/\w*)?")
_DATABASE = re.compile(r"(/\d*)?")
_PACKAGES = {"redis": REDIS, "sqlalchemy": SQL}


def kind_of(where: object) -> str:
    """What kind of ledger an argument names: :data:`PATH`, :data:`MEMORY`, :data:`REDIS`, :data:`SQL`, :data:`HTTP`.

    Args:
        where: a URL, a path, None for a path of ours, or a client of a package that is known. Anything else counts as
            a path, which it is for whoever opens it to refuse.

    Raises:
        LedgerError: it was probably meant as another kind than it would be taken for. The text quotes it, without
            credentials and options, and says what to write.
    """
    if not isinstance(where, str):
        packages = (kind.__module__.partition(".")[0] for kind in type(where).__mro__)
        return next((_PACKAGES[package] for package in packages if package in _PACKAGES), PATH)
    if where != where.strip():
        raise _mistaken(where, "begins or ends with a blank; write it without")
    scheme, _, rest = where.partition(":")
    name = scheme.lower().partition("+")[0]
    if where == ":memory:":
        raise _mistaken(where, "is SQLite's; write 'memory://'")
    if name in _SCHEMES:
        return _checked(where, scheme, *_SCHEMES[name])
    if name in _ALSO_CALLED and rest:
        raise _mistaken(where, f"is not known: {_ALSO_CALLED[name]}")
    if _HOST_AND_PORT.fullmatch(where):
        shown_as = public(f"//{where}")[2:]
        raise _mistaken(where, f"would be a directory of that name; write 'redis://{shown_as}', or './{shown_as}'")
    return PATH


def public(where: str) -> str:
    """A URL as others may read it: without its credentials and options."""
    bare, query, options = where.partition("?")
    scheme, colon, rest = bare.partition(":")
    if "@" in options:  # whichever of them are the password's
        rest = "//***"
    credentials, at, host = rest.rpartition("@")
    if at:
        rest = f"{'//' if credentials.startswith('//') else ''}***@{host}"
    if colon:
        rest = rest.partition("#")[0]
    return f"{scheme}{colon}{rest}{query and '?...'}"


def _checked(where: str, scheme: str, kind: str, example: str) -> str:
    """The kind, if nothing of the URL is one of the usual mistakes."""
    if scheme != scheme.lower():
        raise _mistaken(where, f"is not known; write its beginning in small letters, as in {example!r}")
    if not where.startswith(f"{scheme}://"):
        raise _mistaken(where, f"would be a directory of that name; write {example!r}, or './{public(where)}'")
    if kind == MEMORY and where != example:
        raise _mistaken(where, f"names something in memory, where nothing has a name; write {example!r}")
    remote = kind in (REDIS, HTTP) or (kind == SQL and not scheme.startswith("sqlite"))
    if remote and re.search(r"[\s\x00-\x1f]", where):
        raise _mistaken(
            where, f"holds a blank, which no address does; write {example!r}, and '%20' for one in a password"
        )
    bare, _, _ = where.partition("?")
    path = bare.removeprefix(f"{scheme}://")
    if scheme.startswith("sqlite") and path[:1] not in ("", "/"):
        raise _mistaken(
            where, f"names a host, and SQLite has none; write 'sqlite:///{path.rpartition('@')[2]}' with three slashes"
        )
    if kind == REDIS and not _DATABASE.fullmatch(_url_path(bare)):
        raise _mistaken(where, f"names no database of Redis: those have numbers; write {example!r}")
    return kind


def without_slices(where: object) -> tuple[object, bool]:
    """A ``ledger=`` argument without ``slice=auto``, and whether it says so.

    Raises:
        LedgerError: it asks for other slices, or for slices of what no other host can reach.
    """
    if not isinstance(where, str) or not _SLICE.search(where):
        return where, False
    kind = kind_of(where)
    if kind not in (REDIS, SQL, HTTP):
        raise _mistaken(
            where, f"has no slices: those are of a ledger that hosts share, such as {_REDIS + '?slice=auto'!r}"
        )
    bare, _, options = where.partition("?")
    kept = [option for option in options.split("&") if not option.startswith("slice=")]
    wrong = [option for option in options.split("&") if option not in ("slice=auto", *kept)]
    if wrong:
        asked = "slices" if "@" in options else shown(wrong[0])  # what is behind a "?" may be a password's
        raise _mistaken(where, f"asks for {asked}, which is not known; write 'slice=auto'")
    return bare + ("?" + "&".join(kept) if kept else ""), True


_SLICE = re.compile(r"[?&]slice=")


def path_of(text: str) -> Path:
    """A path as people write it, which may begin with ``~``.

    Raises:
        LedgerError: nobody knows whose home that is.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        problem = f"begins with a home that nobody knows here; write the whole path, or './{text}'"
        raise _mistaken(text, problem) from None


def _url_path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # what opens it tells that it cannot be read
        return ""


def _mistaken(where: str, problem: str) -> LedgerError:
    return LedgerError(f"ledger={shown(public(where))} {problem}")
