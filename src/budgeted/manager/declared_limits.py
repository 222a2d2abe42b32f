"""Limits that code declares, such as ``max_budget=``, beside those that an operator sets, by hand or in the code.

What a program declares comes into force when it is declared for the first time, or is another than the last one. The
same again, at the program's next start, leaves alone what an operator has set meanwhile. Where two programs declare
different limits of one account, the last one counts, and says so.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
from collections.abc import Sequence

import msgspec

from budgeted.errors import LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger.accounts import GLOBAL, Account, LimitSpec, account_kind
from budgeted.ledger.interface import Ledger
from budgeted.ledger.limit_conversion import limit_of_id
from budgeted.limits.periods import local_time
from budgeted.manager import declarations
from budgeted.manager.declarations import Amounts, Declaration, Entry, amounts_of, stated
from budgeted.manager.running_program import Program, is_running, this_program

logger = logging.getLogger("budgeted")

PATIENCE = 5.0
"""Seconds that another process may take from declaring limits until they are in place: it may have died in between."""

MOST_KEPT = 16
"""Declarations that are kept of processes that may still run, or may not: those of other hosts are heard of no more."""

MOST_NAMED = 3
"""Programs that one message names."""


class Replaced(msgspec.Struct, frozen=True):
    """What a declaration has taken the place of.

    Args:
        limits: those that counted until then; None if the account was not there, or had none that anybody set.
        declared: whether those were declared, and not set.
        others: the declarations of other processes that may still run, and of another program that has ended.
    """

    limits: Amounts | None
    declared: bool
    others: Sequence[Declaration]


def declare(ledger: Ledger, account: str, limits: Sequence[LimitSpec], at: float, project: str) -> None:
    """Have limits that code declares count, unless the same were declared last.

    Of processes that declare different ones at once, one comes last: its limits count, and it tells of the others. One
    that dies in between leaves the limits of before, or its own; the next declaration is waited for no longer than
    :data:`PATIENCE`, and comes into force. An operator's change in that very moment may be replaced, as if it had come
    before.

    Args:
        ledger: where.
        account: the ledger's name of the account that has them.
        limits: what is declared; none for no limits.
        at: unix seconds.
        project: the namespace in the ledger, as messages name it.

    Raises:
        LedgerError: the ledger cannot be used, or takes no such limits. Then nothing was declared.
    """
    amounts = stated(limits)
    mine = Declaration(amounts, this_program(), int(at))
    began = time.monotonic()
    while True:
        found = declarations.read(ledger, account)
        last = next((one for one in found if one.first), None)
        if last is not None and not last.done and _may_run(last.declaration) and time.monotonic() < began + PATIENCE:
            time.sleep(0.02)
            continue
        now = ledger.read(account)
        if last is not None and last.done and last.declaration.amounts == amounts and now is not None and now.explicit:
            _share(ledger, account, last.number, found, mine)
            _tell_of_operator(amounts_of(now), mine, _whose(account, project))
            return
        number = 1 + max((one.number for one in found), default=0)
        if _replace(ledger, account, number, limits, mine):
            _tell(_replaced(found, last, now, mine), mine, account, project)
            _clear_up(ledger, found, mine)
            return


def _replace(ledger: Ledger, account: str, number: int, limits: Sequence[LimitSpec], mine: Declaration) -> bool:
    """Make the next declaration and put its limits in place. Returns whether it is the last one now."""
    if not declarations.make(ledger, account, number, mine):
        return False
    try:
        ledger.set_limits(account, limits, explicit=True)
    except LedgerError as error:
        # Where nobody knows whether they are in place, it stays, so that the next process puts its own there.
        if not isinstance(error, (LedgerUnavailableError, LedgerLockedError)):
            with contextlib.suppress(LedgerError):
                declarations.withdraw(ledger, account, number)
        raise
    if not declarations.is_last(ledger, account, number):  # somebody has run out of patience: whose limits came last?
        return False
    declarations.finish(ledger, account, number, mine)
    return True


def _share(ledger: Ledger, account: str, number: int, found: Sequence[Entry], mine: Declaration) -> None:
    """Note that this process has declared what is in place, if that is not known yet."""
    if any(one.number == number and _is_mine(one, mine) for one in found):
        return
    # A process may begin while its ledger takes nothing: without this, others only know less of whom they replace.
    with contextlib.suppress(LedgerUnavailableError, LedgerLockedError):
        declarations.share(ledger, account, number, mine)
    _clear_up(ledger, [one for one in found if not (one.first and one.number == number)], mine)


def _clear_up(ledger: Ledger, found: Sequence[Entry], mine: Declaration) -> None:
    """Drop earlier declarations of this process, and of those that have ended."""
    running = [one for one in found if not _is_mine(one, mine) and _may_run(one.declaration)]
    newest = sorted(running, key=lambda one: one.declaration.at)[-MOST_KEPT:]
    with contextlib.suppress(LedgerUnavailableError, LedgerLockedError):  # else the next one does
        declarations.forget(ledger, [one for one in found if one not in newest])


def _is_mine(one: Entry, mine: Declaration) -> bool:
    return one.declaration.program.is_process(mine.program)


def _may_run(declaration: Declaration) -> bool:
    return is_running(declaration.program) is not False


def _replaced(found: Sequence[Entry], last: Entry | None, now: Account | None, mine: Declaration) -> Replaced:
    """What a declaration takes the place of.

    Args:
        found: the declarations before it.
        last: the one that counted.
        now: the account as it was.
        mine: what takes their place.
    """
    others = [one.declaration for one in found if one.declaration.amounts != mine.amounts and not _is_mine(one, mine)]
    told = [one for one in others if _may_run(one)]
    if not told and last is not None and last.declaration in others:
        told = [last.declaration] if last.declaration.program.name != mine.program.name else []
    limits = amounts_of(now) if now is not None and now.explicit else None
    declared = any(one.declaration.amounts == limits for one in found)
    return Replaced(limits, declared, told)


# -- what is said of it


def _whose(account: str, project: str) -> str:
    """Whose limit it is; users are named nowhere, unless somebody opts in."""
    return f"project {project!r}" if account == GLOBAL else f"a {account_kind(account)} of project {project!r}"


def _tell(replaced: Replaced, mine: Declaration, account: str, project: str) -> None:
    """Say what a declaration has replaced: loudly where that was another program's, or an operator's."""
    before, whose = replaced.limits, _whose(account, project)
    if replaced.others:
        logger.warning(
            "budgeted: the limit of %s is now %s, as %s declares. What others declared counts no more: %s. "
            "They share one budget, and whoever starts last sets its limit: %s",
            whose,
            text_of(mine.amounts),
            _called(mine.program),
            "; ".join(_described(one) for one in replaced.others[:MOST_NAMED]),
            _advice(replaced.others[0], mine, project),
        )
    if before is None or before == mine.amounts:
        return
    if not replaced.declared:
        logger.warning(
            "budgeted: the limit of %s is now %s, as %s declares; %s, which was set by an operator or an "
            "earlier release, counts no more. Set it again with `budgeted limits set`: what code declares changes it "
            "only when the code does",
            whose,
            text_of(mine.amounts),
            _called(mine.program),
            text_of(before),
        )
    elif not replaced.others:
        logger.info("budgeted: the limit of %s is now %s; it was %s", whose, text_of(mine.amounts), text_of(before))


def _tell_of_operator(now: Amounts, mine: Declaration, whose: str) -> None:
    """Say that other limits count than those that code declares."""
    if now != mine.amounts:
        logger.info(
            "budgeted: the limit of %s is %s, as an operator has set it since %s was declared; it stays until "
            "another one is set or declared",
            whose,
            text_of(now),
            text_of(mine.amounts),
        )


def text_of(amounts: Amounts) -> str:
    """Limits as they would be written."""
    return " + ".join(_text(*one) for one in amounts) or "no limit"


def _text(id: str, amount: int, keep: int = 0) -> str:
    try:
        return str(limit_of_id(id, amount, keep))
    except ValueError:  # a limit that some other client named
        return f"{amount} {id!r}"


def _called(program: Program) -> str:
    return f"{program.name!r} (process {program.pid} on {program.host!r})"


def _described(one: Declaration) -> str:
    state = {True: "is running", False: "has ended", None: "may still run"}[is_running(one.program)]
    at = ""
    with contextlib.suppress(OverflowError, OSError, ValueError):  # by a clock that was far off
        at = f" at {local_time(one.at, dt.UTC).isoformat(' ', 'seconds')}"
    return f"{text_of(one.amounts)}, declared{at} by {_called(one.program)}, which {state}"


def _advice(other: Declaration, mine: Declaration, project: str) -> str:
    """What to write, so that two programs do not replace each other's limit."""
    if other.program.name == mine.program.name:
        return "end the older process, or write one max_budget for both"
    named = " (the project of programs that name none)" if project == "default" else ""
    titles = (mine.program.title, other.program.title, "my-app")
    own = next((title for title in titles if title not in ("", "default", project)), "another-app")
    return (
        f"give one of them a project of its own, such as project_name={own!r} instead of {project!r}{named}, or write "
        f"one max_budget in both"
    )
