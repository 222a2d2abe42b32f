"""What a call is charged once its answer has come: at whose price, and whether that is certain."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from budgeted.metering.cost_bound import price_of
from budgeted.pricing.model_price import Price
from budgeted.pricing.usage import Counts
from budgeted.validation import shown
from budgeted.wire.normalized_request import Request
from budgeted.wire.response_usage import Answer

UNPRICED_TOKENS: Final = "it was held by its cost, and nobody can price the tokens that it is settled by"


def price_of_answer(request: Request, price: Price | None, model: str, at: int) -> tuple[Price | None, str]:
    """The price of the model that answered, and why it is not certain, or "".

    Args:
        request: what was asked.
        price: of the model that was asked for, if it is known.
        model: the model that answered, by another name than was asked for.
        at: when the call began, in unix seconds.
    """
    if request.renamed or (price is not None and price.registered):
        return price, ""
    found = price_of(request, model)
    if found is None and _DATE.fullmatch(model.removeprefix(request.model)):
        return price, ""
    if found is None and price is not None:
        return price, f"{shown(model)} answered, and its price is not known"
    if found is not None and price is not None and price.router:
        return price.answered_by(found), ""
    if found is not None and price is not None and _is_vaguer(model, request.model):
        return (found if found.cost(_MUCH, at) > price.cost(_MUCH, at) else price), ""
    return found, ""


_DATE: Final = re.compile(r"[-@]?20\d\d-?\d\d-?\d\d")
"""What an answer adds to the name of the model that was asked for."""


def _is_vaguer(answered: str, asked: str) -> bool:
    """Whether an answer's name says less than the one that was asked for, such as one without its date."""
    return asked.startswith(answered) or asked.rpartition("/")[2].startswith(answered)


_MUCH = Counts(100_000, 100_000)
"""A usage by which two prices are compared."""


def cost_of_answer(request: Request, price: Price, usage: Counts, answer: Answer, at: int) -> tuple[int, str]:
    """Nano-USD for an answer that says more than its tokens, and why they are not certain, or "".

    Args:
        request: what was asked.
        price: of the model that answered.
        usage: what it used.
        answer: what it says besides.
        at: when the call began, in unix seconds.
    """
    if answer.cost is not None and price.stated:  # elsewhere nobody vouches for what a server states
        return answer.cost, ""
    if price.free and not answer.attempts:
        return 0, ""
    usage = _as_asked(request, price, usage, at)
    cost, reasons = price.cost(usage, at), [unpriced(usage, price)]
    if any(name in UNTOLD and name not in dict(usage.fees) for name, _ in request.fees):
        reasons.append("the answer does not tell what its guardrail read")
    if request.units != 1:
        cost += price.beside_tokens(request.units - 1, 0, at, usage.service_tier, region=usage.region)
    for model, used in answer.attempts:
        theirs = price_of(request, model) if model else None
        if theirs is None:
            reasons.append(f"{shown(model) if model else 'another model'} wrote, too, and its price is not known")
        else:
            cost += theirs.cost(used, at)
            reasons.append(unpriced(used, theirs))
    return cost, "; ".join(reason for reason in reasons if reason)


UNTOLD: Final = frozenset({"guardrail"})
"""Fees that a request is billed whether its answer tells of them or not."""


def _as_asked(request: Request, price: Price, usage: Counts, at: int) -> Counts:
    """A usage with what the request named and the answer does not tell: a region; a tier, if it is or may be dearer."""
    if request.region and not usage.region:
        usage = msgspec.structs.replace(usage, region=request.region)
    if request.tier is not None and usage.service_tier is None:
        asked = msgspec.structs.replace(usage, service_tier=request.tier)
        if price.cost(asked, at) > price.cost(usage, at) or price.unknown(asked) != price.unknown(usage):
            return asked
    return usage


def tokens_of(usage: Counts, answer: Answer) -> tuple[int, int]:
    """Tokens of input and output, over all the models that wrote."""
    every = (usage, *(used for _, used in answer.attempts))
    return sum(one.input_tokens for one in every), sum(one.output_tokens for one in every)


def unpriced(usage: Counts, price: Price | None = None) -> str:
    """What of a usage nobody can price, in words; "" where there is nothing.

    Args:
        usage: what was used.
        price: which may not know all of it.
    """
    unknown = price.unknown(usage) if price is not None else ""
    found = (*usage.unread, unknown) if unknown else usage.unread
    return f"nobody can price {', '.join(found)}" if found else ""
