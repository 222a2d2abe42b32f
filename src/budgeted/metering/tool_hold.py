"""``hold(tool=...)``: one call of a tool, whose price is known before and after.

What the tool calls in turn, such as a model, is no part of it: that is held and charged by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from budgeted.metering import late_answers
from budgeted.metering.manual_hold import Hold, refused
from budgeted.money import nano_usd
from budgeted.pricing import tool_prices
from budgeted.pricing.tool_prices import TOOL
from budgeted.validation import check_name
from budgeted.wire.normalized_request import Request

if TYPE_CHECKING:
    from budgeted.metering.call import Call
    from budgeted.payers.block import Budget
    from budgeted.payers.scope import Scope
    from budgeted.pricing.usage import Usage


class ToolHold(Hold):
    """The price of one call of a tool, set aside. Made by :func:`budgeted.hold`; works as any :class:`Hold`.

    Left in peace, it is charged its price. Left by an exception, it is what any hold is then: given back if that shows
    that nothing was spent, else charged as uncertain.

    Args:
        name: the tool's.
        cost: USD that this call costs; None for the registered price.
        block: who pays.

    Raises:
        TypeError, ValueError: the name is none, or the cost no amount; the text quotes it.

    Example:
        >>> with hold(tool="web_search"):
        ...     results = search(question)
    """

    def __init__(self, name: object, cost: object, block: Budget) -> None:
        tool = check_name(name, "tool")
        price = tool_prices.find(tool) if cost is None else nano_usd(cost, "cost")
        self._price = price or 0
        request = Request(
            provider=TOOL,
            model=tool,
            body={},
            operation="execute_tool",
            fixed=self._price,
            unpriced=price is None,
            output=False,
        )
        super().__init__(request, block)

    def _scope(self) -> Scope:
        scope = super()._scope()
        scope.offer = None  # that of a function around is for the model's call that it says
        return scope

    def _begin(self) -> None:
        """The hold is open. Unlike that of a model's call, it covers no paid request that is made inside."""
        self._entered = True
        if self._call is not None:
            self._call.begun = True

    def _leave(self, call: Call, error: BaseException | None, timeout: float | None = None) -> None:
        if error is None or isinstance(error, GeneratorExit):  # whoever reads its results has had enough of them
            call.charge(None, self._price, timeout)
        else:
            call.fail(error, timeout)

    def settle(
        self, response: object = None, *, usage: Usage | Mapping[str, int] | None = None, cost: object = None
    ) -> None:
        """Charge what the call really cost. Repeating it does nothing; after an estimate it replaces that.

        Args:
            response: what came back. An HTTP response with the status of an error cost nothing; nothing else of it is
                looked at.
            usage: not for tools, which have no tokens.
            cost: USD; None for the tool's price.

        Raises:
            TypeError: a usage was given, or both a response and a cost.
            ValueError: the cost makes no sense.
            RuntimeError: the hold has not begun: there was no ``with``.
        """
        if usage is not None or (response is not None and cost is not None):
            msg = "a tool has no tokens; settle takes nothing, a response, or cost=USD"
            raise TypeError(msg)
        nano = self._price if cost is None else nano_usd(cost, "cost")
        call = self._begun()
        if call is None:
            return
        if call.ended:
            late_answers.settle(call, None, nano)
        elif response is not None and refused(response):
            self._end(call, call.release)
        else:
            self._end(call, lambda timeout: call.charge(None, nano, timeout))


def make_tool_hold(tool: object, cost: object, block: Budget, others: Mapping[str, object]) -> ToolHold:
    """Check the arguments of ``hold(tool=...)``, and make it.

    Args:
        tool: the tool's name.
        cost: USD, or None for its price.
        block: who pays.
        others: the arguments that are about a model, by their names.

    Raises:
        TypeError: one of these was given as well, or the tool's name is none.
        ValueError: the cost makes no sense.
    """
    for name, value in others.items():
        if value is not None:
            msg = f"hold(tool=...) is a call of a tool, and {name} is for one of a model; leave one of them out"
            raise TypeError(msg)
    return ToolHold(tool, cost, block)
