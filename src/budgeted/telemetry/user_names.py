"""By which names users appear in telemetry, where that is opted in."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable

from budgeted.telemetry.series_labels import Wanted
from budgeted.validation import check_name, shown

logger = logging.getLogger("budgeted")


class UserNames:
    """By which names users appear in metrics and on spans. Made by :func:`user_names`."""

    __slots__ = ("_failed", "_name", "only", "ranked", "top")

    def __init__(self, name: Callable[[str], object], only: frozenset[str] | None = None, top: int = 0) -> None:
        Wanted.any = True
        self._name = name
        self._failed = False
        self.only = only
        self.top = top
        self.ranked = -math.inf  # by time.monotonic; whoever reads the ledger for a collection keeps `only` current

    def __reduce__(self) -> tuple[object, ...]:  # so that a process that it is unpickled in knows of the rule
        return UserNames, (self._name, self.only, self.top)

    def __call__(self, user: str) -> str:
        """A user's name in telemetry, or "" for one who is not to be named."""
        if self.only is not None and user not in self.only:
            return ""
        try:
            name = self._name(user)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, calls go on
            if not self._failed:
                self._failed = True
                kind = type(error).__name__  # its text may name the user
                logger.warning("budgeted: metric_users failed with %s; such users are not named (said once)", kind)
            return ""
        return name if isinstance(name, str) else ""


def user_names(given: object) -> UserNames | None:
    """Read the setting ``metric_users``.

    Args:
        given: False or None: no user is named. True: all are. An iterable of names: only those. ``"hash"``: all, each
            by the first 16 hex digits of its SHA-256, which hides a name only from those who cannot guess it. A
            function: given a user, returns the name to show, or None; it may key a hash, or name a plan or tenant
            instead. ``"top 20"``: so many users, those who have spent most when metrics are collected. What this
            function returned before is returned as it is.

    Returns:
        The rule, or None if no user is named.

    Raises:
        TypeError, ValueError: it is none of these, or lists what is no user's name; the text quotes it.
    """
    if given is None or given is False:
        return None
    if isinstance(given, UserNames):
        return given
    if given is True:
        return UserNames(str)
    if given == "hash":
        return UserNames(_hashed)
    if callable(given):
        return UserNames(given)
    if isinstance(given, str) and (top := re.fullmatch(r"top ([1-9]\d*)", given)):
        return UserNames(str, frozenset(), top=int(top[1]))
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        hint = f"; for one user write [{shown(given)}]" if isinstance(given, str) else ""
        msg = f"metric_users must be True, False, a list, 'top 20', 'hash' or a function, got {shown(given)}{hint}"
        raise TypeError(msg)
    names = frozenset(check_name(name, "a user in metric_users") for name in given)
    return UserNames(str, names) if names else None


def _hashed(user: str) -> str:
    import hashlib

    return hashlib.sha256(user.encode()).hexdigest()[:16]
