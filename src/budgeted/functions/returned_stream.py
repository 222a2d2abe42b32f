"""What comes out of a generator, or another stream, that is itself a metered call."""

from __future__ import annotations

from collections.abc import Callable

from budgeted.functions.who_pays import on_offer, withdrawn
from budgeted.metering.call import Call
from budgeted.metering.item_streams import Items
from budgeted.payers.scope import Scope


class Steps(Items):
    """The items of a stream whose hold a call inside may take over.

    Args:
        call: the function's own.
        scope: in which its steps run, as some send their request when they are read, or entered.
    """

    def __init__(self, call: Call, scope: Scope) -> None:
        super().__init__(call)
        self.scope = self.inside = scope

    def add(self, item: object) -> bool:
        """Note a chunk, unless a call inside took the hold over."""
        return super().add(item) if on_offer(self.scope) else True

    def ending(self, error: BaseException | None) -> Callable[[float | None], None] | None:
        """How the call ends; None if it has, or a call inside took it over."""
        return super().ending(error) if withdrawn(self.scope) else None
