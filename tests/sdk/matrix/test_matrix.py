"""The matrix: every SDK and framework, in every form, with every ending: what the provider billed is what was recorded.

`make matrix` prints it as a table. A cell says how the call was recorded: `exact`, `estimate`, `clamped`, or `refused`
before anything was sent, `swallowed` if the framework raises no refusal; `unsent` where the provider billed nothing.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from endings import BOTH, CALLS, PARKED, PIECES, STREAMS, Ending
from table import Form, installed

from budgeted import BudgetExceededError

if TYPE_CHECKING:
    from paying import Paying

    from budgeted.testing import SimulatedProvider

# What SDKs and frameworks warn of is their business; so is what they leave open.
pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore")]


class Cell(NamedTuple):
    """One call to make."""

    row: str
    form: Form
    ending: Ending


def _cells() -> list[Cell]:
    return [
        Cell(name, form, ending)
        for name, row in installed().items()
        for form in row.forms
        for ending in (*(STREAMS if form.streams else CALLS), *BOTH)
        if (ending.name != "cancel" or form.asynchronous) and ending.name not in row.without
    ]


def _parameter(cell: Cell) -> Any:
    name = f"{cell.row}-{cell.form.name}-{cell.ending.name.replace(' ', '_')}"
    return pytest.param(cell, id=name, marks=() if cell.ending.name == "read" else pytest.mark.matrix)


@pytest.mark.parametrize("cell", [_parameter(cell) for cell in _cells()])
def test_what_was_billed_is_what_was_recorded(
    cell: Cell,
    paying: Callable[..., Paying],
    provider: SimulatedProvider,
    record_property: Callable[[str, object], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    form, ending = cell.form, cell.ending
    record_property("cell", (cell.row, form.name, ending.name))
    payer = paying(**ending.settings)
    provider.reply(**(PIECES if form.eager and ending.reply is PARKED else ending.reply))
    raised = None
    done: object = None
    with payer.block():
        try:
            done = asyncio.run(_go_async(form, ending, provider)) if form.asynchronous else _go(form, ending, provider)
        except Exception as error:  # noqa: BLE001 - each SDK has its own
            raised = error
            traceback.clear_frames(error.__traceback__)  # they hold the stream
    for record in caplog.records:
        if record.exc_info:
            traceback.clear_frames(record.exc_info[2])  # and so do those of an error that a framework only logs
    found = _verdict(payer, provider, cell, raised)
    record_property("found", "-" if done is False else found)


def _go(form: Form, ending: Ending, provider: SimulatedProvider) -> object:
    client = form.client(provider)  # outlives its stream
    given = form.run(client)
    if not form.streams or ending.leave is None:
        return None
    if hasattr(given, "__enter__") and not hasattr(given, "__iter__"):
        given = given.__enter__()
    # In a list, so that who leaves the stream has the only reference.
    held = [given]
    del given
    return ending.leave(held.pop())


async def _go_async(form: Form, ending: Ending, provider: SimulatedProvider) -> object:
    client = form.client(provider)  # outlives its stream
    given = form.run(client)
    if not form.streams and ending.name == "cancel":
        await _cancel(given, provider)
        return None
    if inspect.isawaitable(given):
        given = await given
    if not form.streams or ending.aleave is None:
        return None
    if hasattr(given, "__aenter__") and not hasattr(given, "__aiter__"):
        given = await given.__aenter__()
    held = [given]
    del given
    return await ending.aleave(held.pop())


async def _cancel(given: Any, provider: SimulatedProvider) -> None:
    asked = asyncio.ensure_future(given)
    assert await asyncio.to_thread(provider.wait_parked)
    asked.cancel()
    await asyncio.wait([asked])
    provider.release()  # a framework's own thread goes on regardless, and the loop waits for it


def _let_go(provider: SimulatedProvider) -> bool:
    """Whether every answer comes to its end.

    One that is merely forgotten leaves its connection open, with the SDK alone as well, and the provider may park it
    later than it was forgotten.
    """
    for _ in range(100):
        provider.release()
        if provider.wait_idle(0.1):
            return True
    return False


def _verdict(payer: Paying, provider: SimulatedProvider, cell: Cell, raised: Exception | None) -> str:
    gc.collect()
    assert _let_go(provider)
    payer.manager.flush()
    bill, uncertain = provider.bill, payer.manager.uncertain()
    # A batch of which one is refused may have the others cancelled before a byte of them is sent: nobody can tell.
    cancelled = sum("cancelled" in one.reason for one in uncertain) if cell.ending.name == "poor" else 0
    assert len(bill) <= payer.charges() <= len(bill) + cancelled, raised
    if cancelled and not bill:
        assert _refused(raised), raised
        return "estimate"
    if not bill:
        assert payer.spent == 0
        return _unsent(cell, provider, raised)
    if cell.ending.exact and not cell.ending.settings:
        assert raised is None, raised
        assert len(bill) == cell.form.bills
    if not uncertain:
        assert payer.spent == provider.billed_nano()
    assert not (uncertain and cell.ending.exact)
    assert payer.spent >= provider.billed_nano() > 0
    limit = payer.manager.balance().limit
    assert limit is not None
    assert payer.spent <= limit * 1e9
    return "clamped" if payer.blocks[0].clamped else "estimate" if uncertain else "exact"


def _unsent(cell: Cell, provider: SimulatedProvider, raised: BaseException | None) -> str:
    """What it means that the provider billed nothing."""
    name = cell.ending.name
    if name in ("poor", "no money"):
        assert provider.requests == []
        assert _refused(raised) != cell.form.swallows, raised
        return "swallowed" if cell.form.swallows else "refused"
    assert name in ("status", "never read", "cancel"), raised
    return "unsent"


def _refused(raised: BaseException | None) -> bool:
    """Whether the budget's refusal reached the caller, however it was wrapped on its way."""
    seen: set[int] = set()
    while raised is not None and id(raised) not in seen:
        if isinstance(raised, BudgetExceededError):
            return True
        seen.add(id(raised))
        raised = raised.__cause__ or raised.__context__
    return False
