"""What a call may need at the most: of its input, of its output, and in money."""

from __future__ import annotations

from typing import Final, Protocol

from budgeted.ledger.accounts import INPUT_TOKENS, OUTPUT_TOKENS, USD
from budgeted.ledger.admission import Ask
from budgeted.metering import cost_bound, input_or_context_window_bound
from budgeted.metering.cost_bound import OUTPUT_UNKNOWN
from budgeted.payers.block_figures import BlockFigures
from budgeted.payers.payer_interface import Group
from budgeted.pricing import input_token_bound, model_price, price_registry
from budgeted.pricing.model_price import Price
from budgeted.pricing.token_types import kinds_of
from budgeted.wire.normalized_request import ANY, Request, Spending
from budgeted.wire.room_for_thinking import room_for_thinking

MOST_SHARES: Final = 64
"""Into how many parts what is left is divided at most, however many calls wait for it."""

PICO_PER_MICRO: Final = 1_000_000
"""Pico-USD that each micro-USD costs of what a program is granted to spend."""

UNCOUNTED: Final = -2
"""The size of an input that nobody has looked at yet."""


class Bounded(Protocol):
    """A call that is about to hold.

    Attributes:
        request: what is asked.
        groups: the payers' accounts, by payer.
        blocks: the payers' blocks.
        at: when it begins, in unix seconds.
        price: the model's, if it is known; found here.
        size: the most tokens of its input; counted here where it is ``UNCOUNTED``.
        whole: whether it gets all the output that it asks for, or is refused; seen here.
    """

    request: Request
    groups: tuple[Group, ...]
    blocks: tuple[BlockFigures, ...]
    at: int
    price: Price | None
    size: int
    whole: bool


def bound(call: Bounded) -> Ask:
    """What the call may need, at the prices it could meet."""
    request = call.request
    payer = call.groups[0].payer
    if request.fixed is not None:
        return Ask(request.fixed, uncertain_output=payer.uncertain_output)
    if request.spending is not None:
        return _spending_bound(call, request.spending, payer.uncertain_output)
    price = call.price = price_registry.find(request.model, request.provider or None, request.base_url)
    if request.others and cost_bound.unpriced_model(request):
        price = call.price = None
    size = call.size
    if size == UNCOUNTED:
        size = input_or_context_window_bound.input_tokens(request, price)
        call.size = size
    n = request.n
    most = request.cap if request.output else 0
    whole, floor = True, 0
    if most is None:
        most = (price and price.max_output_tokens) or OUTPUT_UNKNOWN
        whole = call.whole = request.structured or not request.cappable or _untouchable(call)
        if not whole:
            floor = room_for_thinking(request)
    fixed = rate = 0
    if price is not None:
        kinds = request.kinds
        if kinds == ANY:
            kinds = request.kinds = kinds_of(request.model, request.body) if price.by_kind else 0
        if request.searches or request.units != 1 or request.fees or request.audio_ms or request.others:
            fixed, rate = cost_bound.dearest(request, price, size, call.at, kinds)
        else:
            fixed, rate = price.bound(size, call.at, request.tier, kinds, request.region)
    least = payer.min_output_tokens + request.thinking
    return Ask(fixed, rate * n, size, n, least, most, whole, payer.uncertain_output, floor=floor)


def least(call: Bounded, unit: int) -> int:
    """What a call needs of a unit at the least, however short its input turns out to be once that is counted.

    Args:
        call: whose bound is known.
        unit: of a limit, as :mod:`budgeted.ledger.accounts` numbers them; not calls.

    Returns:
        nano-USD or tokens; 0 where nothing can be said.
    """
    request, price = call.request, call.price
    output = (request.cap or 1) * request.n if request.output else 0
    if unit != USD:
        return (unit != OUTPUT_TOKENS) + (output if unit != INPUT_TOKENS else 0)
    if price is None or request.instead or request.spending is not None:
        return 0
    fixed, rate = price.bound(1, call.at, request.tier, request.kinds, request.region)
    return fixed - (-rate * output // 1000)


def _spending_bound(call: Bounded, spending: Spending, uncertain: int) -> Ask:
    """What a program needs that is told what it may spend: it is granted micro-USD, not tokens."""
    whole = _untouchable(call)
    most = spending.most
    if not spending.named:
        call.whole = whole
    elif whole:
        most = spending.least
    return Ask(
        usd_rate=PICO_PER_MICRO,
        least=spending.least,
        most=most,
        whole=whole,
        uncertain_output=uncertain,
        floor=spending.floor,
    )


def _untouchable(call: Bounded) -> bool:
    return any(group.untouched for group in call.groups) or any(
        block.policy.on_exceed == "raise" for block in call.blocks if block.checked
    )


def covers(call: Bounded, most: int, granted: int, request: Request, price: Price | None) -> bool:
    """Whether what a call holds covers another request, such as one that is made inside its function.

    Args:
        call: which holds.
        most: the output tokens that it asked for, at most.
        granted: those that it was granted.
        request: the other one.
        price: of its model, if that is known.
    """
    mine = call.request
    if request.model != mine.model or request.n > mine.n or not model_price.alike(price, call.price):
        return False
    if request.units > mine.units or request.searches > mine.searches or request.audio_ms > mine.audio_ms:
        return False
    if request.fees != mine.fees or request.region != mine.region or not set(request.others) <= set(mine.others):
        return False
    size = input_token_bound.input_bound(request.body, request.model, exact_bytes=request.exact_bytes)
    if size > call.size or request.elsewhere or request.tier != mine.tier or request.kinds & ~mine.kinds:
        return False
    cap = request.cap
    if cap is None and mine.cap is None and most == granted:
        cap = granted  # all that the model can write; a cap of the function's own is not in this request
    return not request.output or (cap is not None and cap <= granted)
