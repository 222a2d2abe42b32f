"""Tags: what calls are for, as an application says it, ``tags={"feature": "search", "session": id}``.

Each is an account of its own that a call also pays, named by the tag's name and value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from budgeted.ledger.accounts import tag_account
from budgeted.validation import check_tag_name, check_tag_value, shown

if TYPE_CHECKING:
    from uuid import UUID

TagValue: TypeAlias = "str | int | UUID | None"
"""What a tag may have for a value; None for a tag that is not there."""

Tags: TypeAlias = Mapping[str, TagValue]
TagsOf: TypeAlias = Mapping[str, "TagValue | Callable[..., object]"] | Callable[..., object]
"""Tags as those state them who know more at each call: values, or the whole mapping, may be callables."""

Accounts: TypeAlias = tuple[str, ...]

MOST_TAGS: Final = 16
"""Tags of one call: each is one more account that every call is held on."""

_MOST_BITS: Final = 1000


def check_tags(given: object) -> dict[str, str]:
    """Tags as text.

    Args:
        given: names with values: text, numbers, UUIDs; None for one that is not there. None for no tags at all.

    Returns:
        The values by their names.

    Raises:
        TypeError: it is no mapping, or a value is none of these.
        ValueError: a name is no short identifier, a value is too long, or there are too many.

    Example:
        >>> check_tags({"feature": "search", "session": 7, "team": None})
        {'feature': 'search', 'session': '7'}
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        msg = f"tags must be a mapping such as {{'feature': 'search'}}, got {shown(given)}"
        raise TypeError(msg)
    found = {check_tag_name(name): _text(value, name) for name, value in given.items() if value is not None}
    if len(found) > MOST_TAGS:
        msg = f"tags has {len(found)} names, and a call may have {MOST_TAGS} tags; leave some out"
        raise ValueError(msg)
    return found


def _text(value: object, name: str) -> str:
    if isinstance(value, str):
        return check_tag_value(str.__str__(value), name)  # of an enumeration's member, what it stands for
    if isinstance(value, int):
        number = bool(value) if isinstance(value, bool) else int(value)  # of an enumeration's member, as above
        if number.bit_length() > _MOST_BITS:  # Python writes no number of thousands of digits
            msg = f"the value of the tag {name!r} is a number of more than 200 digits; use a shorter id, or a hash"
            raise ValueError(msg)
        return check_tag_value(str(number), name)
    from uuid import UUID  # not before somebody has one, perhaps: importing the package is to be quick

    if isinstance(value, UUID):
        return str(value)
    msg = f"the value of the tag {name!r} must be text, a whole number, a UUID or None, got {shown(value)}"
    raise TypeError(msg)


def accounts_of(tags: Mapping[str, str]) -> Accounts:
    """The ledger's names of the accounts of some tags."""
    return tuple(tag_account(f"{name}={value}") for name, value in tags.items())


def same_tag(account: str) -> str:
    """What the ledger's names of all accounts begin with that have another value of the same tag."""
    return account[: account.index("=") + 1]


def tag_of(account: str) -> tuple[str, str]:
    """The name and the value of a tag, from the ledger's name of its account."""
    name, _, value = account[2:].partition("=")
    return name, value


class AskedTags:
    """The tags of an application's functions or requests, some of which are asked for each time.

    Args:
        given: names with values or callables, or one callable that returns such a mapping of values; None for no tags.

    Raises:
        TypeError, ValueError: what does not depend on a call makes no sense; the text quotes it.

    Attributes:
        callables: those that are asked at each call; where there are none, ``accounts`` are those of every call.
    """

    def __init__(self, given: object) -> None:
        self._whole = given if callable(given) else None
        named: Mapping[str, object] = given if isinstance(given, Mapping) else {}
        self._asked: dict[str, Callable[..., object]] = {}
        for name, one in named.items():
            if callable(one):
                self._asked[check_tag_name(name)] = one
        own = {name: one for name, one in named.items() if name not in self._asked} if self._asked else given
        self._fixed = check_tags(None if self._whole is not None else own)
        self.callables = tuple(self._asked.values()) if self._whole is None else (self._whole,)
        self.accounts: Accounts = accounts_of(self._fixed)

    def ask(self, *args: object, **kwargs: object) -> object:
        """What the callables say of one call, whose arguments they are given: for :meth:`read`."""
        if self._whole is not None:
            return self._whole(*args, **kwargs)
        return {name: one(*args, **kwargs) for name, one in self._asked.items()}

    def read(self, told: object) -> Accounts:
        """The accounts of the tags of one call.

        Raises:
            TypeError, ValueError: a callable returned what is no value of a tag; the text quotes it.
        """
        found = check_tags(told)
        return accounts_of(check_tags({**self._fixed, **found}) if self._fixed else found)
