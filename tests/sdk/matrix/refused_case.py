"""A place inside a framework where a call is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from budgeted import BudgetError, budget
from budgeted.testing import Request

RAISED, SWALLOWED = "raised", "swallowed"


class Case(NamedTuple):
    """One row of a page's table, "What a refusal does inside".

    Attributes:
        row: how its first column begins.
        run: what is run inside the block that is refused; it may be a coroutine function.
        refused: how many refusals there are.
        becomes: `RAISED` as it is, `SWALLOWED`, or the type that it is raised as.
        cap: USD of the block; 0 refuses every call, 1 none but those that are `refused_inside`.
    """

    row: str
    run: Callable[[], Any]
    refused: int = 1
    becomes: str = RAISED
    cap: float = 0


def refused_inside(run: Callable[[], Any]) -> Any:
    """Run what calls a model, in a block that has nothing to spend."""
    with budget(cap=0):
        return run()


async def refused_inside_async(run: Callable[[], Any]) -> Any:
    async with budget(cap=0):
        return await run()


def calls_its_tool_first(request: Request) -> str | None:
    """The tool that a request offers, if its last message is not a tool's answer already."""
    tools = request.body.get("tools") or []
    last = (request.body.get("input") or request.body.get("messages") or [{}])[-1]
    answered = not isinstance(last, dict) or last.get("role") == "tool" or last.get("type") == "function_call_output"
    if not tools or answered:
        return None
    return str(tools[0].get("name") or tools[0]["function"]["name"])


def refusals_in(error: BaseException | None) -> list[BudgetError]:
    """The refusals that an error is, is a group of, or was raised from."""
    if isinstance(error, BudgetError):
        return [error]
    if isinstance(error, BaseExceptionGroup):
        return [found for one in error.exceptions for found in refusals_in(one)]
    return [] if error is None else refusals_in(error.__cause__ or error.__context__)
