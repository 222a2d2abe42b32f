"""``%%budget alice 0.50``: what a cell of a notebook calls is charged to somebody, and limited.

``%load_ext budgeted`` brings it. The cell itself is run as ever, with its ``await`` and its last value: only its first
line becomes a line of code that opens a block, which ends with the cell.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import cell_magic
from IPython.display import display

from budgeted import api
from budgeted.money import nano_usd
from budgeted.payers.block import Budget
from budgeted.payers.scope import current
from budgeted.validation import looks_like_a_limit, shown

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

USAGE = (
    "write %%budget USER, %%budget USER CAP or %%budget CAP, such as %%budget alice 0.50, with --key NAME to keep it"
)

_LEFT_ALONE = re.compile(r"\{.*\}|\$[^\W\d].*")
"""What stands for a variable, where IPython has found none of that name and left it as it was."""

_loaded: dict[InteractiveShell, CellBudgets] = {}


def load(shell: InteractiveShell) -> None:
    """Have a shell know the magic. Repeating it does nothing."""
    if shell not in _loaded:
        _loaded[shell] = CellBudgets(shell)
        _loaded[shell].register()


def unload(shell: InteractiveShell) -> None:
    """Have a shell forget the magic."""
    budgets = _loaded.pop(shell, None)
    if budgets is not None:
        budgets.unregister()


class CellBudgets:
    """The blocks that the cells of a shell have opened.

    Args:
        shell: IPython's.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._open: list[tuple[int, Budget]] = []
        self._depth = 0

    def register(self) -> None:
        """Have the shell know the magic."""
        self._shell.magics_manager.register_function(self.budget, "line_cell", "budget")
        self._shell.input_transformers_cleanup.append(as_line)
        self._shell.events.register("pre_run_cell", self._began)
        self._shell.events.register("post_run_cell", self._ended)

    def unregister(self) -> None:
        """Have the shell forget it."""
        for kind in ("line", "cell"):
            self._shell.magics_manager.magics[kind].pop("budget", None)
        self._shell.input_transformers_cleanup.remove(as_line)
        self._shell.events.unregister("pre_run_cell", self._began)
        self._shell.events.unregister("post_run_cell", self._ended)

    def budget(self, line: str, cell: str | None = None) -> None:
        """Charge what this cell calls to a user, and limit it.

        %%budget [USER] [CAP] [--key NAME]

        USER pays, besides whoever pays here anyway; quote a name with blanks. CAP is what the cell may spend: USD, such
        as 0.50 or $0.50, or limits in any unit, such as "20 calls". With --key, the cap is kept under that name, and
        the cell may be run again with what is left of it. At its end, the cell shows what was spent. As %budget, in a
        line of its own, it holds for the rest of the cell. A lone amount is a cap; of a user who is called so, write
        the cap as well.
        """
        user, cap, key = arguments(line)
        try:
            block = api.budget(user, cap=cap, key=key)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{error}; {USAGE}") from None
        self._open.append((self._depth, block.__enter__()))
        if cell is not None:
            self._shell.run_cell(cell)  # type: ignore[no-untyped-call]

    def _began(self, *_: object) -> None:
        self._depth += 1

    def _ended(self, *_: object) -> None:
        """Leave the blocks of a cell, the innermost first, and show them. A cell may have run others."""
        mine = [block for depth, block in self._open if depth >= self._depth]
        self._open = [(depth, block) for depth, block in self._open if depth < self._depth]
        self._depth = max(0, self._depth - 1)
        for block in reversed(mine):
            scope = current()
            # A cell that awaits runs in a context of its own, and has taken the block with it.
            if scope is not None and scope.blocks[-1:] == (block,):
                block.__exit__(None, None, None)
            display(block)  # type: ignore[no-untyped-call]


def as_line(lines: list[str]) -> list[str]:
    """The lines of a cell, where ``%%budget`` is a magic of a line; all of them stay where they are."""
    if lines and lines[0].startswith("%%budget") and lines[0][8:9].strip() == "":
        return [lines[0][1:], *cell_magic(lines[1:])]  # type: ignore[no-untyped-call]  # another magic may be in the next line
    return lines


def arguments(line: str) -> tuple[str | None, str | None, str | None]:
    """The user, the cap and the key that a line names.

    Raises:
        UsageError: it makes no sense; the text quotes it.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%%budget {shown(line)} cannot be read: {error}; {USAGE}") from None
    names, key = [], None
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name == "--key" and (equals or words):
            key = value if equals else words.pop(0)
        elif word.startswith("-") and not _is_amount(word):
            raise UsageError(f"%%budget does not know {shown(word)}; {USAGE}")
        else:
            names.append(word)
    if len(names) > 2:
        raise UsageError(f"%%budget takes a user and a cap, got {shown(line)}; quote a name with blanks; {USAGE}")
    for name in names:
        if _LEFT_ALONE.fullmatch(name):
            raise UsageError(f"%%budget {shown(line)}: {shown(name)} is no variable that is known here; {USAGE}")
    if len(names) == 2:
        return names[0], names[1], key
    lone = names[0] if names else None
    return (None, lone, key) if lone is not None and _is_amount(lone) else (lone, None, key)


def _is_amount(word: str) -> bool:
    try:
        nano_usd(word.removeprefix("-"))
    except ValueError:
        return looks_like_a_limit(word)
    return True
