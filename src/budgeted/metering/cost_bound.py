"""The most that a request may cost, whichever model answers it and whatever is billed beside its tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from budgeted.errors import LedgerError
from budgeted.payers.block_figures import BlockFigures
from budgeted.payers.payer_interface import Group, Plan
from budgeted.pricing import price_registry
from budgeted.pricing.model_price import Price
from budgeted.wire.normalized_request import Request, unpriced

OUTPUT_UNKNOWN: Final = 128_000
"""Output tokens assumed for a model of which nobody knows the maximum. It is not written into a request that fits:
servers refuse a cap above what their model can do."""


def price_of(request: Request, model: str) -> Price | None:
    """The price of a model where a request goes; None if nobody knows it."""
    return price_registry.find(model, request.provider or None, request.base_url)


def unpriced_model(request: Request) -> str:
    """The first of the models that may answer a request whose price nobody knows; "" if there is none."""
    return next((model for model in (request.model, *request.others) if price_of(request, model) is None), "")


def require_price(
    request: Request, blocks: Iterable[BlockFigures], groups: Sequence[Group], plans: Sequence[Plan | None], at: int
) -> None:
    """Nobody knows what a request costs: that is refused where a limit in USD applies.

    Args:
        request: what is asked.
        blocks: the payers' blocks, of which a cap is such a limit.
        groups: the payers' accounts, by payer.
        plans: which limits apply to each group; None where the ledger does not tell.
        at: when the call begins, in unix seconds.

    Raises:
        UnpricedModelError: it is refused.
    """
    if request.priced:
        return
    capped = any(block.limits_usd(request) for block in blocks)
    for group, plan in zip(groups, plans, strict=True):
        if group.payer.unpriced == "deny" and (
            plan is None or capped or (plan.priced and _limited(group, request, at))
        ):
            raise unpriced(request, unpriced_model(request))


def _limited(group: Group, request: Request, at: int) -> bool:
    """Whether a limit in USD applies still: nothing is held, by which it would be found out that it has gone."""
    try:
        return group.payer.plan(group, request.provider, request.model, at, fresh=True).priced
    except LedgerError:  # it does, as far as anybody knows
        return True


def dearest(request: Request, price: Price, input_tokens: int, at: int, kinds: int) -> tuple[int, int]:
    """The most that a request may cost, over all the models that may answer it.

    Args:
        request: what is asked; the prices of its other models are known.
        price: of the model that is asked for.
        input_tokens: at most this much input.
        at: when the call begins, in unix seconds.
        kinds: which dearer tokens it may use, as :meth:`budgeted.pricing.model_price.Price.bound` takes them.

    Returns:
        What is fixed, in nano-USD, with all that is billed beside tokens; and pico-USD per output token.
    """
    fixed = rate = 0
    for one in (price, *(price_of(request, other) for other in request.others)):
        if one is not None:
            tokens, each = one.bound(input_tokens, at, request.tier, kinds, request.region)
            fixed = max(fixed, tokens + _beside_tokens(request, one, at))
            rate = max(rate, each)
    return fixed, rate


def _beside_tokens(request: Request, price: Price, at: int) -> int:
    units, sound = request.units - 1, request.audio_ms
    return price.beside_tokens(units, request.searches, at, request.tier, request.fees, sound, request.region)
