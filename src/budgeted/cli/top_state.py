"""What somebody who looks at ``budgeted top`` has asked to see, and the keys by which he does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from budgeted.manager.balances import AccountInfo

ORDERS: Final[dict[str, tuple[str, Callable[[AccountInfo], tuple[float, str]] | None]]] = {
    "l": ("least left", None),
    "s": ("spent", lambda one: (-one.spent, one.name)),
    "h": ("held", lambda one: (-max((balance.held for balance in one.balances), default=0.0), one.name)),
    "n": ("name", lambda one: (0.0, one.name)),
}
"""What users are sorted by, by the key for it; None for the order that they come in."""

HELP: Final = (
    ("s l n h", "sort by what is spent, least left, name, what is held"),
    ("/", "show only users whose name has a text; Enter ends it, Esc shows all"),
    ("up down", "a line, PgUp and PgDn a page, Home to the first, End to the last"),
    ("?", "this list"),
    ("q", "quit"),
)
"""The keys, with what they do."""

_KEYS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
"""Single keys in what a terminal sends: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html"""

_MOVES: Final = {"A": -1, "B": 1}
_FIRST, _LAST = ("H", "1~", "7~"), ("F", "4~", "8~")


@dataclass
class TopState:
    """What is shown of a project.

    Attributes:
        order: one of :data:`ORDERS`.
        text: what the names of the users that are shown contain.
        typing: whether keys are for that text.
        first: the first of these users that is on the screen.
        page: how many of them the screen has room for.
        helping: whether the keys are explained.
        over: whether it was asked to end.
    """

    order: str = "l"
    text: str = ""
    typing: bool = False
    first: int = 0
    page: int = field(default=10, compare=False)
    helping: bool = False
    over: bool = False

    def press(self, keys: str) -> None:
        """Do what keys are for.

        Args:
            keys: as a terminal sends them.
        """
        for key in _KEYS.findall(keys):
            if self.typing:
                self._type(key)
            else:
                self._command(key)

    def _type(self, key: str) -> None:
        if key in {"\r", "\n"}:
            self.typing = False
        elif key == "\x1b":
            self.typing, self.text = False, ""
        elif key in {"\x7f", "\b"}:
            self.text = self.text[:-1]
        elif key.isprintable():
            self.text += key
        self.first = 0

    def _command(self, key: str) -> None:
        if key in {"q", "Q"}:
            self.over = True
        elif key == "?":
            self.helping = not self.helping
        elif key == "/":
            self.typing, self.text, self.first = True, "", 0
        elif key == "\x1b":
            self.text, self.helping, self.first = "", False, 0
        elif key in ORDERS:
            self.order, self.first = key, 0
        elif key.startswith("\x1b"):
            self._move(key[2:])

    def _move(self, key: str) -> None:
        if key in _FIRST:
            self.first = 0
        elif key in _LAST:
            self.first = 10**9  # as far as there are any
        else:
            self.first += _MOVES.get(key, {"5~": -self.page, "6~": self.page}.get(key, 0))

    def seen(self, accounts: Sequence[AccountInfo], page: int) -> tuple[list[AccountInfo], int]:
        """The users that are on the screen, and how many there are to page through.

        Args:
            accounts: all, in the order that they come in.
            page: how many the screen has room for.
        """
        found = list(self._sorted(accounts))
        self.page = max(1, page)
        self.first = max(0, min(self.first, len(found) - self.page))
        return found[self.first : self.first + self.page], len(found)

    def _sorted(self, accounts: Sequence[AccountInfo]) -> Iterator[AccountInfo]:
        text, (_, by) = self.text.lower(), ORDERS[self.order]
        found = [one for one in accounts if text in one.name.lower()]
        yield from found if by is None else sorted(found, key=by)
