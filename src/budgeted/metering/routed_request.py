"""A request that a router sends to one of several places, whichever it picks: what a proxy is asked for, for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from budgeted.errors import UnpricedModelError
from budgeted.ledger.admission import Ask
from budgeted.metering import call_bound
from budgeted.metering.call_bound import UNCOUNTED, Bounded
from budgeted.payers.block_figures import BlockFigures
from budgeted.payers.payer_interface import Group
from budgeted.pricing import input_token_bound
from budgeted.pricing.model_price import Price
from budgeted.wire.normalized_request import Request


class Place(msgspec.Struct, eq=False):
    """One of the requests that may be sent, as a call that is about to hold.

    Args:
        request: what is sent there.
        groups: the payers' accounts, by payer.
        blocks: the payers' blocks.
        at: when the call begins, in unix seconds.
        size: the most tokens of its input; counted where it is ``UNCOUNTED``.
        price: the model's, once it is bounded; None if nobody knows it.
        whole: whether it gets all the output that it asks for, or is refused.
        ask: what it may need, once that is known.
        output: the output tokens that it may ask for, once that is known.
    """

    request: Request
    groups: tuple[Group, ...]
    blocks: tuple[BlockFigures, ...]
    at: int
    size: int = UNCOUNTED
    price: Price | None = None
    whole: bool = True
    ask: Ask = Ask()
    output: int = 0


class Holding(Bounded, Protocol):
    """A call that holds.

    Attributes:
        usd: nano-USD held.
    """

    usd: int


def bound(call: Bounded) -> Ask:
    """What the call may need wherever it is sent: the most of everything that any of its requests may need.

    What nobody knows the price of, or the size, counts only where that is true of all of them: sent there, it is
    refused where it is sent.

    Args:
        call: whose request has others ``instead``.

    Raises:
        UnpricedModelError: all refer to what is not in them, and the context windows are not known.
    """
    places = _bounded(call, call.request.instead)
    known = [place for place in places if place.price is not None or place.request.priced] or places
    dearest = max(known, key=lambda place: place.ask.usd_for(place.ask.most))
    asks = [place.ask for place in known]
    call.price, call.whole = dearest.price, any(place.whole for place in known)
    call.size = max(place.size for place in known)
    return msgspec.structs.replace(
        dearest.ask,
        usd=max(ask.usd for ask in asks),
        usd_rate=max(ask.usd_rate for ask in asks),
        tokens=max(ask.tokens for ask in asks),
        tokens_rate=max(ask.tokens_rate for ask in asks),
        least=max(ask.least for ask in asks),
        most=max(ask.most for ask in asks),
        whole=any(ask.whole for ask in asks),
        floor=max(ask.floor for ask in asks),
    )


def _bounded(call: Bounded, requests: Sequence[Request]) -> list[Place]:
    found: list[Place] = []
    unbounded: UnpricedModelError | None = None
    for request in requests:
        place = Place(request, call.groups, call.blocks, call.at, call.size)
        try:
            place.ask = call_bound.bound(place)
        except UnpricedModelError as error:
            unbounded = error
        else:
            found.append(place)
    if unbounded is not None and not found:
        raise unbounded
    return found


def counted_bound(request: Request) -> int | None:
    """The most tokens of its input, counted with the tokenizer of each model that may be asked.

    Args:
        request: which has others ``instead``.

    Returns:
        Tokens; None if one of them is not to be counted.
    """
    counted = [_counted(one) for one in request.instead]
    return None if None in counted else max(one for one in counted if one is not None)


def _counted(request: Request) -> int | None:
    return None if request.elsewhere else input_token_bound.counted_bound(request.body, request.model)


def covered(call: Holding, request: Request, ask: Ask, granted: int, *, counted: bool) -> Place | None:
    """What a hold has become, if it is enough for what the router sends.

    Args:
        call: which holds.
        request: what is sent.
        ask: what was held for.
        granted: the output tokens that were granted.
        counted: whether the input was counted with a tokenizer.

    Returns:
        The request with its price and what it may need; None if it needs more, or goes against other limits.
    """
    mine = call.request
    place = Place(request, call.groups, call.blocks, call.at)
    if counted:
        place.size = _counted(request) or UNCOUNTED
    try:
        place.ask = call_bound.bound(place)
    except UnpricedModelError:  # whoever holds for it in its own name tells that
        return None
    if place.price is None and not (request.priced or call.price is None):
        return None
    most = place.ask.most
    place.output = most if request.cap is not None or place.whole else min(most, granted)
    need = place.ask
    fits = (
        need.usd_for(place.output) <= call.usd
        and need.tokens <= ask.tokens
        and need.tokens_rate * place.output <= ask.tokens_rate * granted
        and place.output >= min(most, need.floor)
    )
    return place if fits and _same_limits(call, mine, request) else None


def _same_limits(call: Bounded, mine: Request, request: Request) -> bool:
    """Whether two requests count in the same limits: some are for some models only."""
    for group in call.groups:
        held = group.plans.get((mine.provider, mine.model))
        other = group.plans.get((request.provider, request.model))
        if held is None or other is None or held.route.legs != other.route.legs:
            return False
    return True
